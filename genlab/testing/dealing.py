"""Laws of the batch: dealt out over processes, permuted, repeated, with other labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab.contracts import Classifies, number_of_classes
from genlab.data.loader import batch_seed
from genlab.testing.batches import Batch, Pick, Rows, everything, images, rows_of, take
from genlab.testing.cases import Case
from genlab.testing.findings import Finding, worst
from genlab.testing.noise import RowNoise
from genlab.testing.ranks import Ranks
from genlab.testing.running import Outcome, Recorder, train

EXACT = {True: 1e-6, False: 1e-4}  # relative, by whether the calculation is in double precision


def processes(case: Case, ranks: Ranks) -> Finding:
    """N processes with 1/N of the batch each do what one does: loss, gradient, state."""
    data, batches, double = case.fresh_data(), case.batches, case.double
    one, exact = dealt(0, 1, case.portable, data, batches, double), EXACT[double]
    found, note = 0.0, ""
    for world in case.worlds:
        results = ranks.run(dealt, world, case.portable, data, batches, double)
        for rank, many in enumerate(results):
            apart, where = compare(many, one)
            if apart > found:
                found, note = apart, f"{where}, rank {rank} of {world}"
    return Finding("processes", found <= exact, found, note if found > exact else "")


def dealt(
    rank: int,
    world: int,
    make: Callable[[], L.LightningModule],
    data: L.LightningDataModule,
    batches: list[Batch],
    double: bool = True,
    **options: Any,
) -> Outcome:
    """A few steps on this rank's share of every batch, as the loaders deal them."""
    return picked(make(), data, batches, lambda n: torch.arange(rank, n, world), double, **options)


def picked(
    method: L.LightningModule,
    data: L.LightningDataModule,
    batches: list[Batch],
    pick: Pick,
    double: bool = True,
    **options: Any,
) -> Outcome:
    """A few steps on rows of the batches; noise belongs to its row."""
    rows: list[Rows] = [rows_of(batch, pick) for batch in batches]
    recorder = Recorder(lambda batch, k: RowNoise(rows[k], batch_seed(1, 0, k)))
    shares = [take(batch, pick) for batch in batches]
    options["precision"] = "64-true" if double else "32-true"
    return train(method, data, shares, recorder, **options)


def compare(one: Outcome, other: Outcome) -> tuple[float, str]:
    """The largest relative difference of losses, gradients and final tensors, and its place."""
    groups = [("loss", _numbered(one.losses), _numbered(other.losses))]
    steps = max(len(one.gradients), len(other.gradients))
    for k in range(steps):
        both = [o.gradients[k] if k < len(o.gradients) else {} for o in (one, other)]
        groups.append((f"gradient {k + 1}", _whole(both[0]), _whole(both[1])))
    groups.append(("state", one.state, other.state))
    return worst(groups)


def _numbered(tensors: list[Tensor]) -> dict[str, Tensor]:
    return {str(k + 1): one for k, one in enumerate(tensors)}


def _whole(gradient: dict[str, Tensor]) -> dict[str, Tensor]:
    """A step's gradient as one vector: parts that are zero but for rounding have no scale."""
    if not gradient:
        return {}
    return {"": torch.cat([gradient[name].flatten() for name in sorted(gradient)])}


def order(case: Case, ranks: Ranks) -> Finding:
    """The order of the images in a batch does not matter."""
    generator = torch.Generator().manual_seed(3)
    orders = {n: torch.randperm(n, generator=generator) for n in _sizes(case.batches[0])}
    return _first_step("order", case, orders.__getitem__)


def places(case: Case, ranks: Ranks) -> Finding:
    """The places of a batch's images in the data set do not matter."""
    elsewhere = [_replaced(batch) for batch in case.batches[:2]]
    return _first_step("places", case, everything, elsewhere)


def _replaced(batch: Batch) -> Batch:
    """The batch with its images at each other's places in the data set."""
    return {
        key: _replaced(value)
        if isinstance(value, dict)
        else value.roll(1)
        if key == "index" and isinstance(value, Tensor)
        else value
        for key, value in batch.items()
    }


def repeat(case: Case, ranks: Ranks) -> Finding:
    """A batch in which every image stands twice costs what the batch does."""
    return _first_step("repeat", case, lambda n: torch.arange(n).repeat(2))


def _sizes(batch: Batch) -> set[int]:
    parts = [part for part in batch.values() if isinstance(part, dict)]
    return {n for n in map(images, [batch, *parts]) if n}


def _first_step(law: str, case: Case, pick: Pick, changed: list[Batch] | None = None) -> Finding:
    base_batches, outcomes = case.batches[:2], []
    for one, batches in ((everything, base_batches), (pick, changed or base_batches)):
        method, data = case.fresh_plain(), case.fresh_data()
        outcomes.append(picked(method, data, batches, one, case.double))
    base, other = outcomes
    for outcome in outcomes:
        outcome.state = {}
        del outcome.losses[1:], outcome.gradients[1:]
    found, where = compare(other, base)
    exact = EXACT[case.double]
    return Finding(law, found <= exact, found, where if found > exact else "")


def labels(case: Case, ranks: Ranks) -> Finding:
    """Labels of images that a method must learn without change nothing, to the bit.

    Those are the ``unlabeled`` images of a batch; without such, all of them, unless labels are what
    the method is for: it classifies, or draws by class. ``num_classes`` alone excuses nothing.
    """
    others = [_relabelled(batch) for batch in case.batches]
    outcomes = []
    for batches in (case.batches, others):
        outcomes.append(train(case.fresh(), case.fresh_data(), batches, Recorder()))
    found, where = compare(outcomes[1], outcomes[0])
    split = any("unlabeled" in batch for batch in case.batches)
    by_class = isinstance(case.method, Classifies) or number_of_classes(case.method) > 0
    if found and not split and by_class:
        return Finding("labels", True, None, "has no unlabelled images: labels are its target")
    return Finding("labels", found == 0, found, where)


def _relabelled(batch: Batch) -> Batch:
    """Other labels for ``unlabeled`` where a batch has it, else for all."""
    if isinstance(inner := batch.get("unlabeled"), dict):
        return batch | {"unlabeled": _relabelled(inner)}
    label: Any = batch.get("label")
    return batch | {"label": (label + 1) % (label.max() + 1)} if label is not None else batch
