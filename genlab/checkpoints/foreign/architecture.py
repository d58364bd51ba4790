"""Architecture of a weights file: what the file says, and which timm networks hold such tensors."""

from __future__ import annotations

import argparse
import difflib
import re
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import safetensors
import timm
import torch
from torch import nn

from genlab import process
from genlab.checkpoints.foreign.adaptation import quiet
from genlab.checkpoints.foreign.fetching import Fetched
from genlab.checkpoints.foreign.lookalike import shapes_of_timm
from genlab.errors import CheckpointError
from genlab.internals import timm_parts

_KEYS = ("architecture", "arch", "encoder", "backbone", "model", "model_name")
_SETTINGS = ("genlab", "hyper_parameters", "hparams", "args", "config", "cfg")
_ALIKE = Path(__file__).with_name("alike.txt")


def told(found: Fetched, content: Any) -> str | None:
    """The timm architecture that a file, or the configuration next to it, says it is of.

    Args:
        found: the file and its configuration.
        content: tensors and settings read from it.
    """
    for settings in _settings(found, content):
        for key in _KEYS:
            name = settings.get(key)
            if isinstance(name, str) and timm.is_model(plain := plain_name(name)):
                return plain
    return None


def plain_name(name: str) -> str:
    """A timm name without repository, tag and former spelling."""
    bare = name.rpartition("/")[2]
    return timm_parts.present_name(bare).partition(".")[0]


def _settings(found: Fetched, content: Any) -> Iterator[Mapping[str, Any]]:
    """The dictionaries in which programs keep the names of their networks."""
    given: list[Any] = [found.config.get("genlab"), found.config]
    if isinstance(content, Mapping):
        given += [content.get(key) for key in _SETTINGS] + [content]
    if found.file.suffix == ".safetensors":
        with safetensors.safe_open(found.file, "pt") as opened:
            given.append(opened.metadata())
    for one in given:
        settings = vars(one) if isinstance(one, argparse.Namespace) else one
        if isinstance(settings, Mapping):
            yield settings


def asked_for(model: nn.Module) -> str | None:
    """The timm architecture of a model, None of another library's."""
    return (getattr(model, "pretrained_cfg", None) or {}).get("architecture")


def refuse_other(name: str | None, model: nn.Module, source: str) -> None:
    """Refuse a file of another architecture, unless both give the same features.

    Args:
        name: as the file, or the user, says.
        model: model to fill.
        source: address of the file.

    Raises:
        CheckpointError: it is.
    """
    asked = asked_for(model)
    if name is None or asked is None or name == asked or same_features(name, asked):
        return
    raise CheckpointError(
        f"{source} is of {name}, not of {asked}: their features differ\n"
        f"ask for it: model.encoder={name}"
    )


def known(name: str) -> str:
    """A timm architecture by the name a user gives it.

    Raises:
        ValueError: timm has none of this name.
    """
    plain = plain_name(name)
    if not timm.is_model(plain):
        near = difflib.get_close_matches(plain, timm.list_models(), n=3)
        nearest = f"; nearest: {', '.join(near)}" if near else ""
        raise ValueError(f"unknown architecture {name!r} in pretrained_options{nearest}")
    return plain


def in_file_name(file: Path) -> str | None:
    """The timm architecture with which a file's name begins, as timm's and torchvision's do.

    Args:
        file: such as ``resnet50-0676ba61.pth`` or ``vit_base_patch16_224.dino.safetensors``.
    """
    first = re.split(r"[-.]", file.name)[0]
    return first if timm.is_model(first) else None


def warn_of_alike(model: nn.Module, found: Fetched, source: str) -> None:
    """Warn of a file that says nothing, where several of timm's networks hold its tensors.

    The file's own name speaks too, as timm's and torchvision's do: ``resnet50-0676ba61.pth``.
    """
    asked = asked_for(model)
    others = alike(asked) if asked else []
    if not others or re.match(rf"{asked}([-.]|_(?!gn|aa|blur))", found.file.name):
        return
    if process.is_first():
        *some, last = difflib.get_close_matches(str(asked), others, n=3, cutoff=0)
        names = f"{', '.join(some)} and {last}" if some else last
        warnings.warn(
            f"{source} does not say which network it is of, and {names} would fit too, with other "
            f"features; if it is {asked}, model.pretrained_options.architecture={asked} says so",
            UserWarning,
            2,
        )


@cache
def _groups() -> list[list[list[str]]]:
    lines = _ALIKE.read_text(encoding="utf-8").splitlines()
    return [[part.split() for part in line.split(" | ")] for line in lines if line[:1] != "#"]


def alike(name: str) -> list[str]:
    """Architectures of the same tensors as another's that give other features."""
    group = next((g for g in _groups() if any(name in part for part in g)), [])
    return [other for part in group if name not in part for other in part]


@cache
def same_features(one: str, other: str) -> bool:
    """True if two timm networks with the same random weights give the same features."""
    if shapes_of_timm(one).keys() != shapes_of_timm(other).keys():
        return False
    shape = timm.get_pretrained_cfg(one, allow_unregistered=True).input_size  # type: ignore[union-attr]
    with torch.random.fork_rng(devices=[]), torch.no_grad(), quiet():
        torch.manual_seed(0)
        first, second = (_made(name, shape[-1]) for name in (one, other))
        for value in first.state_dict().values():
            if value.is_floating_point():  # also where the constructor leaves zeros or ones
                value += 0.02 * torch.randn_like(value)
        try:
            second.load_state_dict(first.state_dict())
            images = torch.rand(2, *shape) * torch.tensor([1.0, 0.2])[:, None, None, None]
            a, b = first(images), second(images)
        except RuntimeError:  # other shapes
            return False
    told_apart = float((a[0] - a[1]).abs().max())  # what saturates would tell nothing
    return a.shape == b.shape and float((a - b).abs().max()) < 1e-3 * told_apart


def _made(name: str, size: int) -> nn.Module:
    try:
        return timm.create_model(name, num_classes=0, img_size=size).eval()
    except TypeError:
        return timm.create_model(name, num_classes=0).eval()
