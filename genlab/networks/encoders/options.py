"""Options of a network with which a file's weights give other features than they were trained for.

Weights of other shapes are refused or reported when they are loaded; an activation, a padding or a
number of heads leaves every shape as it is.
"""

from __future__ import annotations

import warnings
from typing import Any

import timm
import torch
from torch import nn

from genlab import process
from genlab.networks.encoders.backbones import backbone

# compared where a file does not name its network: a network of timm has defaults for them
PLAIN = ("act_layer", "norm_layer", "aa_layer", "output_stride", "global_pool")
# of the images, of training alone, or `encoder`'s own, whose loading answers for them
APART = {
    "in_chans", "img_size", "image_size", "num_classes", "dynamic_img_size", "normalize",
    "compile", "grad_checkpointing", "channels_last",
}  # fmt: skip


def warn_of_other_features(made: Any, given: dict[str, Any]) -> None:
    """Warn of options with which the file's weights give other features than its network did.

    Args:
        made: a `networks.Encoder` with pretrained weights.
        given: see `changed`.
    """
    name, report = made.architecture["name"], made.report
    if not report or not process.is_first():
        return
    differ = changed(name, made.in_chans, made.image_size, given, report.network)
    if differ:
        names = " and ".join(f"encoder_kwargs.{key}" for key in differ)
        own = ", ".join(f"{key}={'null' if v is None else v}" for key, v in differ.items())
        warnings.warn(
            f"{names} gives other features than {report.source} was trained for: "
            f"fine-tune it, or take its own: {own}",
            UserWarning,
            4,
        )


def changed(
    name: str,
    in_chans: int,
    image_size: int,
    given: dict[str, Any],
    told: dict[str, Any] | None,
) -> dict[str, Any]:
    """The options that change features and no shape, with the file's values; None for unset.

    Args:
        name: name of the network, see `encoder`.
        in_chans: number of image channels.
        image_size: side of the images in pixels.
        given: the network's ``stem``, ``lightness`` and arguments of its constructor.
        told: ``encoder_kwargs`` of the file's network under that name; None where it names none.
    """
    here = {key: value for key, value in given.items() if value is not None}
    own = dict((told or {}).get("encoder_kwargs") or {})
    light = [side.pop("lightness", None) for side in (here, own)]
    if told is not None:
        keys = [k for k in {**here, **own} if not (k in APART or "drop" in k or "init" in k)]
    else:
        keys = [k for k in PLAIN if k in here and timm.is_model(name.partition(".")[0])]
    found: dict[str, Any] = {}
    if told is not None and bool(light[0]) != bool(light[1]):
        found["lightness"] = bool(light[1])
    for key in keys:
        values, rest = (here.get(key), own.get(key)), {k: v for k, v in here.items() if k != key}
        if values[0] != values[1]:
            sides = [rest | ({} if value is None else {key: value}) for value in values]
            if _differ(name, in_chans, image_size, sides):
                found[key] = values[1]
    return found


def _differ(name: str, in_chans: int, image_size: int, sides: list[dict[str, Any]]) -> bool:
    """True if networks with parameters of the same shapes compute something else."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            one, other = (backbone(name, in_chans, image_size, **side)[0] for side in sides)
    except Exception:  # the file's value is none that the network takes
        return True
    shapes = [[(n, p.shape) for n, p in network.named_parameters()] for network in (one, other)]
    return shapes[0] == shapes[1] and _traits(one) != _traits(other)


def _traits(network: nn.Module) -> list[str]:
    """Every module with its plain attributes: strides, numbers of heads, kinds of pooling."""
    found = [str(network)]
    for module in network.modules():
        plain = {k: v for k, v in vars(module).items() if isinstance(v, bool | int | float | str)}
        found.append(f"{type(module).__name__} {plain}")
    return found
