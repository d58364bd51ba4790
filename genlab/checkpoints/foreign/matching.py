"""Matching of a file's tensors to a model, decided before anything is copied."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from genlab.checkpoints.foreign.adaptation import (
    classifiers,
    is_small_stem,
    renamed,
    resized,
    sees_image,
    standardised,
)
from genlab.checkpoints.foreign.layouts import Candidate
from genlab.checkpoints.foreign.report import Report
from genlab.errors import CheckpointError

_STATISTICS = (".running_mean", ".running_var")
# Constants that a network computes anew, and counters.
_HARMLESS = re.compile(
    r"(^|\.)(num_batches_tracked|relative_position_index|relative_coords_table|attn_mask|mask_token"
    r"|attention_bias_idxs|\w*freqs\w*|periods|k_bias|\w+_idx|pe|idx_tensor)$"
)
# First words of what belongs to a backbone, also where a neighbour has no such part; any other
# part is a head, a projector, a decoder, a queue.
_BACKBONES = re.compile(
    r"norm\d?|(fc|pre|post|patch|embed)_norm|norm_(pre|post|embed)|layernorm|bn\d?|ln_(pre|post)"
    r"|(cls|class|dist|distillation|reg|register|storage)_tokens?|(class|position\w*)_embed\w*"
    r"|(abs_)?pos(ition)?_(embed|block|drop)\w*|pos_conv|rel_pos\w*|rope|attn_pool|patch_embed"
    r"|pre_logits|conv_(stem|head)|final_conv|stem\w*|layers?\d*|stages?\d*|blocks\w*|downsample\w*"
)


@dataclass
class Fit:
    """Match of a candidate with a model.

    Attributes:
        candidate: source of the tensors.
        values: tensors to copy, by the model's names.
        state: the file's tensors under the model's names, resized, its classifier among them.
        report: the names; its share is what would load.
        classes: number of classes of the file's classifier; 0 without one.
        used: share of the file's values that have a place in the model, among parts that it has.
        noise: layers next to the image that would stay fresh unintentionally.
        no_statistics: batch-norm statistics that the file lacks.
        without_place: the file's tensors that belong to its backbone and not to the model's.
        without_value: the model's parameters that the file has no value for, but for those next to
            the image.
        standardised: see `adaptation.standardised`.
    """

    candidate: Candidate
    values: dict[str, Tensor] = field(default_factory=dict)
    state: dict[str, Tensor] = field(default_factory=dict)
    report: Report = field(default_factory=lambda: Report(""))
    classes: int = 0
    used: float = 0.0
    noise: list[str] = field(default_factory=list)
    no_statistics: list[str] = field(default_factory=list)
    without_place: list[str] = field(default_factory=list)
    without_value: list[str] = field(default_factory=list)
    standardised: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def fits(self) -> float:
        """The smaller of the two shares."""
        return min(self.report.share, self.used)


def fit(model: nn.Module, candidate: Candidate, heads_too: bool) -> Fit:
    """Match a candidate's tensors with a model; the model is not changed.

    Args:
        model: model to fill.
        candidate: one of `layouts.candidates`.
        heads_too: True to let a classifier in the file fill the model's; a projector's names
            can be the same.
    """
    named, own = renamed(candidate.state, model), model.state_dict()
    state = resized(named, model)
    tops = {name.partition(".")[0] for name in own}
    heads = tuple(f"{name}." for name in classifiers(model))
    as_they_are = {id(tensor) for tensor in candidate.state.values()}
    found = Fit(candidate, state=state, standardised=standardised(named, model))
    report = found.report
    for name, value in state.items():
        if name.startswith(heads) and not (heads_too and _same_shape(name, value, own)):
            report.dropped.append(name)
        elif name not in own:
            (report.unexpected if name.partition(".")[0] in tops else report.dropped).append(name)
        elif value.shape != own[name].shape:
            shapes = f"{tuple(value.shape)}, here {tuple(own[name].shape)}"
            report.mismatched[name] = shapes
        else:
            found.values[name] = value
            (report.loaded if id(value) in as_they_are else report.adapted).append(name)
    found.classes = next((len(state[f"{h}weight"]) for h in heads if f"{h}weight" in state), 0)
    report.missing = [n for n in own if n not in state and not n.endswith("num_batches_tracked")]
    report.parameters = sum(p.numel() for n, p in _backbone(model, heads))
    report.share = _share(model, heads, found.values)
    extra = _values(state[name] for name in report.unexpected)
    used = _values(found.values.values())
    found.used = used / max(used + extra, 1)
    report.fresh = [name for name in sees_image(model) if name not in found.values]
    found.noise = [n for n in report.fresh if not is_small_stem(model, n, state.get(n))]
    found.no_statistics = [
        name
        for name in own
        if name.endswith(_STATISTICS) and name not in found.values and not name.startswith(heads)
    ]
    left = [*report.unexpected, *(n for n in report.dropped if not n.startswith(heads))]
    found.without_place = [name for name in left if _is_decisive(name, tops)]
    found.without_value = [
        name
        for name, _ in _backbone(model, heads)
        if not (name in found.values or name in report.fresh or _HARMLESS.search(name))
    ]
    return found


def _is_decisive(name: str, tops: set[str]) -> bool:
    """True of a file's tensor that its network computes features with, by its name."""
    top = name.partition(".")[0]
    return not _HARMLESS.search(name) and (top in tops or _BACKBONES.fullmatch(top) is not None)


def copy(model: nn.Module, found: Fit) -> None:
    """Copy the values, then check which of the model's parameters have them.

    Raises:
        CheckpointError: the file contains NaN or infinity.
    """
    for name, value in found.values.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise CheckpointError(f"{found.report.source} contains NaN or infinity in {name}")
    model.load_state_dict(found.values, strict=False)
    own, report = model.state_dict(), found.report
    held = {n: v for n, v in found.values.items() if torch.equal(own[n].cpu(), v.to(own[n].dtype))}
    report.loaded, report.adapted = (
        [name for name in names if name in held] for names in (report.loaded, report.adapted)
    )
    report.share = _share(model, tuple(f"{name}." for name in classifiers(model)), held)


def _backbone(model: nn.Module, heads: tuple[str, ...]) -> list[tuple[str, nn.Parameter]]:
    return [(n, p) for n, p in model.named_parameters() if not n.startswith(heads)]


def _share(model: nn.Module, heads: tuple[str, ...], values: dict[str, Tensor]) -> float:
    parameters = _backbone(model, heads)
    held = sum(p.numel() for name, p in parameters if name in values)
    return held / max(sum(p.numel() for _, p in parameters), 1)


def _same_shape(name: str, value: Tensor, own: dict[str, Tensor]) -> bool:
    return name in own and own[name].shape == value.shape


def _values(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors if tensor.is_floating_point())
