"""The table of timm's networks that share all tensors and not their features.

``python -m tests.checkpoints.foreign.alike_made`` writes it anew, a quarter of an hour of work. No
number is computed: on the meta device a network's operations are written down with their constants
(strides, paddings, epsilons, kinds of activation), and two networks of the same list compute the
same.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import timm
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from genlab.checkpoints.foreign import architecture

_HEADER = """\
# Networks of timm that share the names and shapes of all tensors; between | are other features.
# Written by tests/checkpoints/foreign/alike_made.py."""
_MOVES = re.compile(
    r"view|reshape|expand|permute|transpose|slice|select|detach|clone|copy|arange|empty|squeeze"
    r"|alias|contiguous|lift|zeros|ones|split|unbind|index|full|linspace"
)
_SIZED = re.compile(r"conv|pool|pad|group_norm")  # integers tell; elsewhere they are image sizes
_CONSTANTS = re.compile(r"(num_batches_tracked|position_index|coords_table|mask|_idxs|freqs)$")
_POSITIONS = re.compile(r"pos_emb|position_emb|rel_pos|relative_position_bias_table")
_TWO_HEADS = ["add []", "div []"]  # their mean, last; without a head the features themselves
_SIZE = re.compile(r"_\d{3}(?=_|$)|_\d+to\d+|window\d+(to\d+)?")


class Operations(TorchDispatchMode):
    """A record of the operations of a network and their constants."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).split(".")[1]
        if not _MOVES.search(name):
            given = [*args, *(kwargs or {}).values()]
            self.done.append(f"{name} {list(_constants(given, bool(_SIZED.search(name))))}")
        return func(*args, **(kwargs or {}))


def _constants(given: Iterable[Any], integers: bool) -> Iterable[Any]:
    for one in given:
        if isinstance(one, list | tuple):
            yield from _constants(one, integers)
        elif isinstance(one, bool | float | str) or (integers and isinstance(one, int)):
            yield one


@torch.no_grad()
def fingerprint(name: str) -> tuple[str, str]:
    """Text of a timm network's tensors, and of its operations."""
    with torch.device("meta"):
        model: Any = timm.create_model(name, num_classes=0).eval()
        image = torch.zeros(1, *model.pretrained_cfg["input_size"])
    with Operations() as operations:
        model(image)
    tensors = [
        (n, _squareness(v) if _POSITIONS.search(n) else tuple(v.shape))
        for n, v in sorted(model.state_dict().items())
        if not _CONSTANTS.search(n)
    ]
    done = operations.done
    return repr(tensors), repr(done[:-2] if done[-2:] == _TWO_HEADS else done)


def _squareness(positions: torch.Tensor) -> tuple[int, ...]:
    """Prefix tokens among (1, N, F) positions: the rest is a square, as resampling wants it."""
    if positions.ndim != 3:
        return ()
    count = positions.shape[1]
    return (count - int(count**0.5) ** 2, positions.shape[2])


def table(prints: dict[str, tuple[str, str]]) -> list[str]:
    """The groups of more than one kind of features, a line each.

    Kinds whose names tell only a size apart count as one: weights are adapted to a size.
    """
    groups: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, (tensors, operations) in prints.items():
        groups[tensors][operations].append(name)
    lines = []
    for kinds in groups.values():
        merged: dict[str, list[str]] = {}
        for names in kinds.values():
            known = next((k for n in names if (k := _SIZE.sub("", n)) in merged), None)
            merged.setdefault(known or _SIZE.sub("", names[0]), []).extend(names)
        if len(merged) > 1:
            lines.append(" | ".join(" ".join(names) for names in merged.values()))
    return sorted(lines)


if __name__ == "__main__":
    lines = table({name: fingerprint(name) for name in timm.list_models()})
    path = Path(architecture.__file__).with_name("alike.txt")
    path.write_text("\n".join([_HEADER, *lines, ""]), encoding="utf-8")
