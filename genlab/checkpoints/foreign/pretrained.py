"""Pretrained weights of any known layout into an existing backbone, or a clear refusal."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from genlab import process, recipes
from genlab.checkpoints.foreign import architecture as architectures
from genlab.checkpoints.foreign import heads, layouts
from genlab.checkpoints.foreign.fetching import fetch, fetch_timm
from genlab.checkpoints.foreign.layouts import Candidate, Tensors
from genlab.checkpoints.foreign.matching import Fit, copy, fit
from genlab.checkpoints.foreign.refusals import (
    AT_LEAST,
    refuse_epsilon,
    refuse_equals,
    refuse_neighbour,
    refuse_noise,
    refuse_standardised,
    refuse_stem,
    refuse_too_little,
)
from genlab.checkpoints.foreign.report import Report
from genlab.checkpoints.safe_read import content
from genlab.errors import CheckpointError

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_HALVES = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}  # [-1, 1]

LOADS = {  # arguments of `networks.encoder` and of timm's constructors that read files
    "pretrained", "pretrained_options", "pretrained_cfg", "pretrained_cfg_overlay",
    "checkpoint_path", "cache_dir", "pretrained_strict",
}  # fmt: skip


def load_backbone(
    model: nn.Module,
    source: str | bool | Path,
    *,
    take: str | None = None,
    prefix: str | None = None,
    at_least: float = AT_LEAST,
    architecture: str | None = None,
    unsafe_pickle: bool = False,
) -> Report:
    """Load weights into a bare network, adapting head, channels, image size and patch size.

    The model is changed only if enough fits; afterwards its own parameters are compared with what
    was to be loaded. Classifiers load where names and shapes agree, projectors never.

    Args:
        model: model of timm or genlab, of the wanted geometry.
        source: True or ``timm`` for timm's weights of this model, else as in `fetching.fetch`.
        take: copy to load if a file contains two, ``online`` (``student``) or ``ema``
            (``teacher``). By default the online one; DINO's teacher; the average of a run with
            averaged weights.
        prefix: prefix of the backbone's names in the file, instead of searching for it; with
            ``PLACE/`` in front, as the report writes it, in that part of the file alone.
        at_least: share that must fit: of the model's parameters, and of the file's own in those
            parts that the model has too (a deeper network's file has all names of a shallower).
            Not below .9, every tensor inside the backbone must fit too, on both sides, and batch
            norm's statistics; but a 7x7 stem's file leaves a 3x3 one fresh, and that is warned of.
        architecture: timm's name of the file's network, where the file does not say it and several
            of timm's hold its tensors.
        unsafe_pickle: let a pickle run code; for files whose maker you trust.

    Returns:
        What was done; its text is for people.

    Raises:
        CheckpointError: nothing there, unreadable, unsafe, too little fits, several networks do, or
            the file is of an architecture with other features.
        ValueError: ``take`` or ``at_least`` out of range, unknown ``architecture``.
    """
    if take is not None and take not in layouts.TAKES:
        raise ValueError(f"take must be one of {', '.join(layouts.TAKES)}, got {take!r}")
    if not 0 <= at_least <= 1:
        raise ValueError(f"at_least must be in [0, 1], got {at_least}")
    named = architectures.known(architecture) if architecture else None
    timm = source is True or source == "timm"
    cfg = getattr(model, "pretrained_cfg", None) or {}
    found = fetch_timm(cfg) if timm else fetch(str(source))
    timms = f"timm's {cfg.get('architecture')}.{cfg.get('tag')}"
    shown = timms if timm else recipes.without_credentials(str(source))
    held = content(found.file, unsafe_pickle)
    places = layouts.unwrap(held, model.state_dict())
    if not places:
        raise CheckpointError(f"{shown} contains no named tensors, hence no weights")
    kind, self_supervised, imagenet = layouts.layout(held)
    offered = _candidates(places, model, prefix, shown)
    best, equals = _best(offered, model, take, at_least, heads_too=not self_supervised)
    if best is None:
        raise CheckpointError(f"{shown} contains no copy of this kind: take={take!r} finds nothing")
    report, candidate = best.report, best.candidate
    report.source, report.prefix, report.revision = shown, candidate.path, found.revision
    report.layout = f"{kind}, {candidate.copy}"
    report.waived = at_least < AT_LEAST
    told, whole = None if timm else architectures.told(found, held), _whole(held, model)
    elsewhere = timm or whole is not None  # a part of a network has not its arguments
    report.network = None if elsewhere else _in_config(found.config) or _in_checkpoint(held)
    if not report.waived:
        architectures.refuse_other(told, model, shown)
        architectures.refuse_other(named, model, shown)
    refuse_too_little(best, model, places, at_least)
    refuse_equals(best, equals, shown, whole)
    own_run = isinstance(held, Mapping) and "genlab" in held
    if not report.waived:
        refuse_noise(best, model)
        refuse_standardised(best, model)
        refuse_neighbour(best, model)
        refuse_stem(best, model, held)
        refuse_epsilon(best, model, held)
        if not (told or named or timm or own_run or self_supervised):
            architectures.warn_of_alike(model, found, shown)
    copy(model, best)
    if not self_supervised:
        report.head_name, report.head = heads.of(best, places, model, own_run)
    if report.fresh and process.is_first():
        warnings.warn(f"{shown}: {report.noise()}", UserWarning, 2)
    config = cfg if timm else _config(found.config)
    known = not self_supervised and best.classes == cfg.get("num_classes")
    report.mean, report.std, report.told_by = (
        _own_statistics(places, candidate, own_run)
        or _statistics(config, "timm's configuration" if timm else "its config.json")
        or _statistics(_IMAGENET if imagenet else {}, f"ImageNet's, as {kind} uses")
        or _statistics(_HALVES if "EfficientNetV2-L" in kind else {}, f"those of {kind}")
        or _statistics(cfg if known else {}, "timm's for the name")
        or (None, None, "")
    )
    beside = _beside(candidate) + "own"
    own = beside in places.get(candidate.place, {})
    report.per_image = own or (not timm and bool(config.get("per_image")))
    return report


def backbone_of(source: str | bool | Path, unsafe_pickle: bool = False) -> dict[str, Any] | None:
    """The network whose weights are at an address, if the address says so.

    Args:
        source: address, as for `load_backbone`.
        unsafe_pickle: likewise.

    Returns:
        ``encoder`` and ``encoder_kwargs`` as a method takes them, from a genlab checkpoint, from
        the ``config.json`` of an export, or from a file name that begins with an architecture of
        timm; None for any other file, which names no network. What would load further files or
        take safety off is left out.

    Raises:
        CheckpointError: nothing there, or unreadable.
    """
    if source is True or source == "timm":
        return None
    found = fetch(str(source))
    told = _in_config(found.config) or _in_checkpoint(content(found.file, unsafe_pickle))
    named = architectures.in_file_name(found.file)
    return told or (_network(named, None) if named else None)


def _in_config(config: dict[str, Any]) -> dict[str, Any] | None:
    """The network that the ``config.json`` of an export names."""
    for told in (config.get("genlab"), config):
        if isinstance(told, Mapping) and isinstance(told.get("encoder"), str):
            return _network(told["encoder"], told.get("encoder_kwargs"))
    if not isinstance(config.get("architecture"), str):
        return None
    own = _network(config["architecture"], config.get("model_args"))
    for given_by_the_data in ("in_chans", "img_size", "num_classes"):
        own["encoder_kwargs"].pop(given_by_the_data, None)
    return own


def _in_checkpoint(held: Any) -> dict[str, Any] | None:
    """The network that a checkpoint of genlab names: ``backbone``, or the method's arguments."""
    if not isinstance(held, Mapping):
        return None
    given = held.get("backbone", held.get("hyper_parameters"))
    if not isinstance(given, Mapping) or not isinstance(given.get("encoder"), str):
        return None
    return _network(given["encoder"], given.get("encoder_kwargs"))


def _whole(held: Any, model: nn.Module) -> str | None:
    """The network of several parts that a checkpoint names as its encoder, if the model is none."""
    given = held.get("backbone") if isinstance(held, Mapping) else None
    name = given.get("encoder") if isinstance(given, Mapping) else None
    other = isinstance(name, str) and name.rpartition(".")[2] != type(model).__name__
    return str(name) if other else None


def _network(name: str, arguments: Any) -> dict[str, Any]:
    """What a file from elsewhere says of its network; it must not name files on this machine."""
    kept = dict(arguments) if isinstance(arguments, Mapping) else {}
    return {"encoder": name, "encoder_kwargs": {k: v for k, v in kept.items() if k not in LOADS}}


def _candidates(
    places: dict[str, Tensors], model: nn.Module, prefix: str | None, shown: str
) -> list[Candidate]:
    shapes = layouts.shapes_of(model)
    if prefix is None:
        return layouts.candidates(places, shapes)
    words = prefix if prefix.endswith("/") or not prefix else f"{prefix.rstrip('.')}."
    found = layouts.under(places, words, shapes)
    if not found:
        first = next(name for tensors in places.values() for name in tensors)
        raise CheckpointError(f"{shown} has no names with prefix {prefix}; its first is {first}")
    return found


def _best(
    found: list[Candidate], model: nn.Module, take: str | None, at_least: float, heads_too: bool
) -> tuple[Fit | None, list[Fit]]:
    """The candidate of most equal names; if it does not fit, the one that fits best converted.

    Returns:
        It, None where there is no such copy; and those that fit as well.
    """
    chosen = layouts.choose(found, take)
    if chosen is None:
        return None, []
    best = fit(model, chosen, heads_too)
    if best.fits >= at_least:
        return best, [fit(model, one, heads_too) for one in layouts.rivals(found, chosen)]
    larger = sorted(found, key=lambda one: len(one.state), reverse=True)[:8]
    others = [one for one in larger if take is None or one.momentum == chosen.momentum]
    fits = [best, *(fit(model, one, heads_too) for one in others if one is not chosen)]
    best = max(fits, key=_order)
    return best, [one for one in fits if _order(one) == _order(best)]


def _order(one: Fit) -> tuple[float, int]:
    return one.fits, -one.candidate.slowness


def _own_statistics(
    places: dict[str, Tensors], one: Candidate, own_run: bool
) -> tuple[Any, Any, str] | None:
    """The buffers of genlab's `Encoder.normalize`, next to its backbone; older runs had none."""
    tensors = places.get(one.place, {})
    beside = _beside(one)
    found = {key: tensors[beside + key] for key in ("mean", "std") if beside + key in tensors}
    if own_run and not found:
        return (0.0,), (1.0,), "the run's own"
    return _statistics({k: v.flatten().tolist() for k, v in found.items()}, "the run's own")


def _beside(one: Candidate) -> str:
    """Prefix of the buffers of `Encoder.normalize`."""
    return one.prefix.removesuffix("backbone.") + "normalize."


def _statistics(told: Mapping[str, Any], by: str) -> tuple[Any, Any, str] | None:
    numbers = [told.get("mean"), told.get("std")]
    for given in numbers:
        if not isinstance(given, list | tuple) or not given:
            return None
        if not all(isinstance(number, int | float) for number in given):
            return None
    mean, std = (tuple(float(number) for number in given or ()) for given in numbers)
    return mean, std, by


def _config(config: dict[str, Any]) -> dict[str, Any]:
    own = config.get("pretrained_cfg")
    return own if isinstance(own, dict) and own else config
