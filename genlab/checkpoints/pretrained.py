"""Pretrained weights of any known layout into an existing backbone, or a clear refusal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from genlab.checkpoints import layouts
from genlab.checkpoints.content import content
from genlab.checkpoints.fetch import fetch, fetch_timm
from genlab.checkpoints.fit import Fit, copy, fit
from genlab.checkpoints.layouts import Candidate, Tensors
from genlab.checkpoints.lookalike import looks_like
from genlab.checkpoints.report import CheckpointError, Report, percent, some

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def load_backbone(
    model: nn.Module,
    source: str | bool | Path,
    *,
    take: str | None = None,
    prefix: str | None = None,
    at_least: float = 0.9,
    unsafe_pickle: bool = False,
) -> Report:
    """Load weights into a bare network, adapting head, channels, image size and patch size.

    The model is changed only if enough fits; afterwards its own parameters are compared with what
    was to be loaded. Classifiers load where names and shapes agree, projectors never.

    Args:
        model: timm's or one of the lab's, of the wanted geometry.
        source: True or ``timm`` for timm's weights of this model, else as in `fetch.fetch`.
        take: where a file holds two copies, ``online`` (``student``) or ``ema`` (``teacher``).
            By default the online one; DINO's teacher; the average of a run with averaged weights.
        prefix: before the backbone's names in the file, instead of looking for it.
        at_least: share that must fit: of the model's parameters, and of the file's own in those
            parts that the model has too (a deeper network's file has all names of a shallower).
        unsafe_pickle: let a pickle run code; for files whose maker you trust.

    Returns:
        What was done; its text is for people.

    Raises:
        CheckpointError: nothing there, unreadable, unsafe, or too little fits.
        ValueError: ``take`` or ``at_least`` out of range.
    """
    if take is not None and take not in layouts.TAKES:
        raise ValueError(f"take must be one of {', '.join(layouts.TAKES)}, got {take!r}")
    if not 0 <= at_least <= 1:
        raise ValueError(f"at_least must be in [0, 1], got {at_least}")
    timm = source is True or source == "timm"
    cfg = getattr(model, "pretrained_cfg", None) or {}
    found = fetch_timm(cfg) if timm else fetch(str(source))
    shown = f"timm's {cfg.get('architecture')}.{cfg.get('tag')}" if timm else str(source)
    held = content(found.file, unsafe_pickle)
    places = layouts.unwrap(held)
    if not places:
        raise CheckpointError(f"{shown} holds no tensors under names, so no weights")
    kind, self_supervised, imagenet = layouts.layout(held)
    best = _best(_candidates(places, model, prefix, shown), model, take, at_least, self_supervised)
    if best is None:
        raise CheckpointError(f"{shown} holds no copy of this kind: take={take!r} finds nothing")
    report, candidate = best.report, best.candidate
    report.source, report.prefix = shown, candidate.path
    report.layout = f"{kind}, {candidate.copy}"
    if best.fits < at_least:
        raise CheckpointError(_refusal(best, model, places, at_least))
    copy(model, best)
    named = cfg if timm else _config(found.config)
    known = not self_supervised and best.classes == cfg.get("num_classes")
    report.mean, report.std, report.told_by = (
        _own_statistics(places, candidate)
        or _statistics(named, "timm's configuration" if timm else "its config.json")
        or _statistics(_IMAGENET if imagenet else {}, f"ImageNet's, as {kind} uses")
        or _statistics(cfg if known else {}, "timm's for the name")
        or (None, None, "")
    )
    return report


def backbone_of(source: str | bool | Path) -> dict[str, Any] | None:
    """Which network's weights lie at an address, where the address says so.

    Returns:
        ``encoder`` and ``encoder_kwargs`` as a method takes them, from a genlab checkpoint or from
        the ``config.json`` of an export; None for any other file, which names no network.

    Raises:
        CheckpointError: nothing there, or unreadable.
    """
    if source is True or source == "timm":
        return None
    found = fetch(str(source))
    own = found.config.get("genlab", found.config)
    if "encoder" in own:
        return {"encoder": own["encoder"], "encoder_kwargs": dict(own.get("encoder_kwargs") or {})}
    if "architecture" in found.config:
        arguments = dict(found.config.get("model_args") or {})
        for given_by_the_data in ("in_chans", "img_size", "num_classes"):
            arguments.pop(given_by_the_data, None)
        return {"encoder": found.config["architecture"], "encoder_kwargs": arguments}
    held = content(found.file)
    given = held.get("hyper_parameters") if isinstance(held, Mapping) else None
    if not isinstance(given, Mapping) or not isinstance(given.get("encoder"), str):
        return None
    return {"encoder": given["encoder"], "encoder_kwargs": dict(given.get("encoder_kwargs") or {})}


def _candidates(
    places: dict[str, Tensors], model: nn.Module, prefix: str | None, shown: str
) -> list[Candidate]:
    shapes = layouts.shapes_of(model)
    if prefix is None:
        return layouts.candidates(places, shapes)
    found = layouts.under(places, f"{prefix.rstrip('.')}." if prefix else "", shapes)
    if not found:
        first = next(name for tensors in places.values() for name in tensors)
        raise CheckpointError(f"{shown} has no names with prefix {prefix}; its first is {first}")
    return found


def _best(
    found: list[Candidate], model: nn.Module, take: str | None, at_least: float, projector: bool
) -> Fit | None:
    """The candidate of most equal names; if it does not fit, the one that fits best converted."""
    chosen = layouts.choose(found, take)
    if chosen is None:
        return None
    best = fit(model, chosen, heads_too=not projector)
    if best.fits >= at_least:
        return best
    larger = sorted(found, key=lambda one: len(one.state), reverse=True)[:8]
    others = [one for one in larger if take is None or one.momentum == chosen.momentum]
    fits = [fit(model, one, heads_too=not projector) for one in others if one is not chosen]
    return max([best, *fits], key=lambda one: (one.fits, not one.candidate.momentum))


def _refusal(best: Fit, model: nn.Module, places: dict[str, Tensors], at_least: float) -> str:
    report, name = best.report, _name(model)
    if report.share < at_least:
        what = f"fits {percent(report.share)} of {name}'s parameters"
    else:
        what = f"holds a larger network: {name} has a place for {percent(best.used)} of it"
    like = looks_like(places)
    like = f"; it looks like {like}" if like and not name.startswith(like) else ""
    needed = f"({percent(at_least)} are needed)"
    return f"{report.source} {what} {needed}{like}\n{_why(best, model, places)}"


def _why(best: Fit, model: nn.Module, places: dict[str, Tensors]) -> str:
    """Prefix and first names of what does not fit; no common name at all: how both begin."""
    report, names = best.report, list(best.candidate.state)
    every = (name for tensors in places.values() for name in tensors)
    if report.share < 0.1 and any(re.search(r"\bfeatures\.\d+\.\d", name) for name in every):
        families = "ResNet, DenseNet, VGG, RegNet and ViT"
        return f"its names are torchvision's, which load for {families}: take timm's weights"
    if not report.share:
        return f"its names are like {names[0]}, the model's like {next(iter(model.state_dict()))}"
    parts = {
        "missing": report.missing,
        "unexpected": report.unexpected,
        "of another shape": [f"{n} {shapes}" for n, shapes in report.mismatched.items()],
    }
    lists = [f"{word} {some(names, 2)}" for word, names in parts.items() if names]
    return f"under its best prefix {report.prefix or '(none)'}: {'; '.join(lists)}"


def _own_statistics(places: dict[str, Tensors], one: Candidate) -> tuple[Any, Any, str] | None:
    """The buffers of genlab's `Encoder.normalize`, beside its backbone."""
    tensors = places.get(one.place, {})
    beside = one.prefix.removesuffix("backbone.") + "normalize."
    found = {key: tensors[beside + key] for key in ("mean", "std") if beside + key in tensors}
    return _statistics({k: v.flatten().tolist() for k, v in found.items()}, "the run's own")


def _statistics(told: Mapping[str, Any], by: str) -> tuple[Any, Any, str] | None:
    if not told.get("mean") or not told.get("std"):
        return None
    return tuple(told["mean"]), tuple(told["std"]), by


def _config(config: dict[str, Any]) -> dict[str, Any]:
    return config.get("pretrained_cfg") or config


def _name(model: nn.Module) -> str:
    return (getattr(model, "pretrained_cfg", None) or {}).get("architecture") or type(
        model
    ).__name__
