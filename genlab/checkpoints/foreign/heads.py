"""The linear classifier of a weights file, for a head of as many classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from genlab.checkpoints.foreign.adaptation import classifiers
from genlab.checkpoints.foreign.fetching import fetch
from genlab.checkpoints.foreign.layouts import Tensors
from genlab.checkpoints.foreign.matching import Fit
from genlab.checkpoints.foreign.report import Report
from genlab.checkpoints.safe_read import content
from genlab.errors import CheckpointError

_USUAL = ("head", "fc", "classifier", "linear")


def of(
    best: Fit, places: dict[str, Tensors], model: nn.Module, own_run: bool
) -> tuple[str, dict[str, Tensor]]:
    """Name of the file's classifier, and its ``weight`` and ``bias``; empty without a linear one.

    Args:
        best: match of the backbone.
        places: every mapping of tensors in the file.
        model: model that was filled.
        own_run: True of a checkpoint of genlab, whose classifier is next to the encoder.
    """
    state, names = best.state, classifiers(model) or _USUAL
    if own_run:
        state, names = places.get(best.candidate.place, {}), ("head",)
    found = {name: _below(state, f"{name}.") for name in names}
    held = [(name, parts) for name, parts in found.items() if parts]
    if len(held) != 1 or not {"weight"} <= held[0][1].keys() <= {"weight", "bias"}:
        return "", {}  # none; two, as a distilled network's; or with a norm of its own
    name, parts = held[0]
    return name, parts | {"weight": parts["weight"].flatten(1)}  # also of a 1x1 convolution


def _below(state: dict[str, Tensor], start: str) -> dict[str, Tensor]:
    return {n.removeprefix(start): v for n, v in state.items() if n.startswith(start)}


def class_names_of(source: str | bool | Path, unsafe_pickle: bool = False) -> list[str]:
    """Names of the classes of a file's classifier, in the order of its outputs; empty if unknown.

    A checkpoint of genlab has them, and so may an export's or timm's config.json
    (``label_names``).

    Args:
        source: address, as for `load_backbone`.
        unsafe_pickle: likewise.

    Raises:
        CheckpointError: nothing there, or unreadable.
    """
    if source is True or source == "timm":
        return []
    found = fetch(str(source))
    for told in (found.config, found.config.get("pretrained_cfg")):
        if isinstance(told, Mapping) and (names := _names(told.get("label_names"))):
            return names
    if found.file.suffix == ".safetensors":
        return []
    held = content(found.file, unsafe_pickle)
    stamp = held.get("genlab") if isinstance(held, Mapping) else None
    return _names(stamp.get("classes")) if isinstance(stamp, Mapping) else []


def _names(given: object) -> list[str]:
    """Names from a file, where they are a list of different strings; else an empty list."""
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        return []
    return list(given) if len(set(given)) == len(given) else []


def load_head(head: nn.Linear, report: Report | None) -> None:
    """Fill a classifier's head with that of the file its encoder was loaded from.

    Args:
        head: head to fill.
        report: report on the encoder; None where nothing was loaded.

    Raises:
        ValueError: there is no file.
        CheckpointError: the file has no linear classifier, one of other classes or features, or
            one with NaN or infinity.
    """
    if report is None:
        raise ValueError("head=file requires pretrained")
    if not report.head:
        raise CheckpointError(
            f"{report.source} has no linear classifier for head=file: it was left out, or is a "
            "projector\nwithout it: model.head=new"
        )
    theirs, own = tuple(report.head["weight"].shape), tuple(head.weight.shape)
    if theirs != own:
        raise CheckpointError(
            f"{report.source} classifies {theirs[0]} classes by {theirs[1]} features, here are "
            f"{own[0]} by {own[1]}\nhead=file requires as many: model.head=new trains a new head"
        )
    for name, value in report.head.items():
        if not value.isfinite().all():
            what = f"the {name} of its classifier\nwithout it: model.head=new"
            raise CheckpointError(f"{report.source} contains NaN or infinity in {what}")
    with torch.no_grad():
        head.weight.copy_(report.head["weight"])
        head.bias.copy_(report.head.get("bias", torch.zeros(len(head.weight))))
