"""Bare networks by name, for the channels and size of the images."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Collection
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.func import functional_call

from genlab.errors import first_line
from genlab.internals import messages
from genlab.networks.encoders.naming import Named, named_class
from genlab.networks.encoders.stems import repatch, replace_stem, small_patches
from genlab.networks.encoders.tokens import whole_patches

Made = tuple[nn.Module, dict[str, Any]]  # a network and its name, stem and kwargs


def backbone(
    name: str, in_chans: int, image_size: int, stem: str | None = None, **kwargs: Any
) -> Made:
    """A network without classifier, and the arguments it was made with.

    Args:
        name: name of the network, see `encoder`.
        in_chans: number of image channels.
        image_size: side of the images in pixels.
        stem: ``cifar`` or None.
        **kwargs: arguments of the network's constructor.

    Returns:
        The network, and ``name``, ``stem`` and ``kwargs``: a timm network without a stem is made
        again by `timm.create_model`. A mixer with another patch size has that as its stem.

    Raises:
        ValueError: unknown name, stem or argument.
    """
    network: Any
    named = named_class(name)
    if named is None:
        network, made_with = _timm(name, in_chans, image_size, stem, kwargs)
    else:
        network, made_with = _own(name, named, in_chans, image_size, stem, kwargs)
    network.image_shape = (in_chans, image_size, image_size)
    return network, made_with


def surplus(
    name: str, in_chans: int, image_size: int, given: dict[str, Any], older: Collection[str]
) -> list[str]:
    """Arguments meant for another network that this one does not take; no weights are drawn.

    Args:
        name: name of the network, see `encoder`.
        in_chans: number of image channels.
        image_size: side of the images in pixels.
        given: ``stem`` and arguments of the constructor.
        older: names of those that were given for another network.
    """
    kept, dropped = dict(given), list[str]()
    while older := [key for key in older if key in kept]:
        try:
            with torch.random.fork_rng(devices=[]), torch.device("meta"):
                backbone(name, in_chans, image_size, **kept)
            break
        except UnknownArgumentError as error:
            key = error.key
        except ValueError as error:
            key = "stem" if "stem" in str(error) else ""
        if key not in older:
            break  # wrong in another way: told when the network is made
        dropped.append(key)
        del kept[key]
    return dropped


def probe(name: str, network: nn.Module, in_chans: int, image_size: int) -> int:
    """The width of the features, found by a pass over shapes alone; refuses images that fail.

    Raises:
        ValueError: the network cannot take such images or gives no vector.
    """
    try:
        out = on_meta(network, torch.zeros(2, in_chans, image_size, image_size, device="meta"))
    except Exception as error:
        why = first_line(error)
        usual = (getattr(network, "pretrained_cfg", None) or {}).get("input_size", [0])[-1]
        size = f"{in_chans} x {image_size} x {image_size}" + f" (it is for {usual} px)" * bool(
            usual
        )
        patch = getattr(getattr(network, "patch_embed", None), "patch_size", None) or (1,)
        fits = whole_patches(image_size, patch[0]) if isinstance(patch, tuple) else ""
        raise ValueError(f"{name} cannot take images of {size}: {why.rstrip('.')}{fits}") from None
    if not isinstance(out, Tensor) or out.ndim != 2:
        raise ValueError(f"{name} gives no feature vector per image; try global_pool: avg")
    return out.shape[1]


@torch.no_grad()
def on_meta(network: nn.Module, image: Tensor) -> Any:
    """The network's output for an image on the meta device, in eval mode: shapes, no arithmetic."""
    training = {module: module.training for module in network.modules()}
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    try:
        network.eval()
        return functional_call(network, {k: v.to("meta") for k, v in tensors.items()}, (image,))
    finally:
        for module, mode in training.items():
            module.training = mode


def _own(
    name: str,
    named: Named,
    in_chans: int,
    image_size: int,
    stem: str | None,
    kwargs: dict[str, Any],
) -> Made:
    """A class called with the images' channels, and their size where it asks for it."""
    if stem is not None:
        raise ValueError(f"{name} has no stem to choose, got {stem!r}")
    asked = "image_size" in inspect.signature(named.kind).parameters
    size = {"image_size": image_size} if asked else {}
    options = {"in_chans": in_chans} | size | named.arguments | kwargs
    return _make(name, named.kind, options), {"name": name, "stem": None, "kwargs": options}


def _timm(
    name: str, in_chans: int, image_size: int, stem: str | None, kwargs: dict[str, Any]
) -> Made:
    """A timm network for the size: told it where its constructor asks, with smaller patches."""
    options = {"in_chans": in_chans, "num_classes": 0} | kwargs
    state = torch.get_rng_state()
    patch = kwargs.get("patch_size")
    try:
        network, made_with = _sized(name, image_size, options)
    except _FixedError:  # the name itself fixes the patch size
        network, made_with = _mixer(name, image_size, int(options.pop("patch_size")), options)
    smaller = {k: v for k, v in small_patches(network, image_size).items() if k not in kwargs}
    if patch is None and smaller:
        torch.set_rng_state(state)  # the weights drawn so far are thrown away
        fitting = _smaller(name, image_size, smaller, options)
        network, made_with = fitting or (network, made_with)
    if stem is not None:
        replace_stem(network, name, stem, in_chans)
        made_with["stem"] = stem
    return network, made_with


def _sized(name: str, image_size: int, options: dict[str, Any]) -> Made:
    """With ``img_size`` where the constructor takes it."""
    sized = {"img_size": image_size} | options
    try:
        network = _make(name, timm.create_model, sized | {"model_name": name})
    except UnknownArgumentError as error:
        if error.key != "img_size":
            raise
        network, sized = _make(name, timm.create_model, options | {"model_name": name}), options
    return network, {"name": name, "stem": None, "kwargs": sized}


def _smaller(
    name: str, image_size: int, smaller: dict[str, int], options: dict[str, Any]
) -> Made | None:
    """With smaller patches, where the network works with them."""
    try:
        made = _sized(name, image_size, options | smaller)
        probe(name, made[0], options["in_chans"], image_size)
    except _FixedError:
        return _mixer(name, image_size, smaller["patch_size"], options)
    except ValueError:
        return None
    return made


def _mixer(name: str, image_size: int, patch: int, options: dict[str, Any]) -> Made:
    """An MLP-Mixer or ConvMixer: made for as many patches as it is to have, then given smaller."""
    network: Any
    network, made_with = _sized(name, image_size, options)
    if "img_size" in made_with["kwargs"]:
        side = network.stem.patch_size[0] * (image_size // patch)
        network, made_with = _sized(name, side, options)
    repatch(network, patch, image_size)
    return network, made_with | {"stem": f"patch{patch}"}


class UnknownArgumentError(ValueError):
    """The constructor does not take argument ``key``."""

    def __init__(self, name: str, key: str) -> None:
        super().__init__(f"encoder {name} takes no argument {key}")
        self.key = key


class _FixedError(UnknownArgumentError):
    """The name determines the patch size."""


def _make(name: str, kind: Callable[..., nn.Module], options: dict[str, Any]) -> nn.Module:
    """Call a constructor; report an unknown argument in one line."""
    try:
        with warnings.catch_warnings():  # no patch of the first size fits; a smaller one follows
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")
            return kind(**options)
    except KeyError as error:  # of timm's tables of layers
        wrong = error.args[0]
        key = next((key for key, value in options.items() if value == wrong), "name")
        raise ValueError(f"encoder {name}: unknown {key} {wrong!r}") from None
    except (TypeError, AssertionError, ZeroDivisionError, RuntimeError) as error:
        unknown = messages.unknown_argument(error)
        if unknown is None:
            raise ValueError(f"encoder {name}: {first_line(error)}") from None
        key, twice = unknown
        fixed = twice and key == "patch_size"
        raise (_FixedError if fixed else UnknownArgumentError)(name, key) from None
