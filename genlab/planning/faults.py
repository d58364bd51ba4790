"""Faults of a training step that appear on GPUs, or on many of them, found without one.

A step runs on the tensors of a GPU that is not there: wrong devices, float64, values that Python
waits for. It runs as rank of 4, 16 and 64 processes: collectives that differ between ranks, and
what grows faster than the number of devices.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from genlab.planning import inner
from genlab.planning.exam import Exam, Exchange, Fault
from genlab.planning.fake import alone, leave_out, quiet
from genlab.planning.rehearsal import GPU, Make, rehearse
from genlab.planning.valueless import classes_assumed
from genlab.recipes import Recipe
from genlab.training.building import build

WORLDS = (4, 16, 64)  # devices, of which the third must not cost more than the line through two
IMAGES = 2  # of a device: faults do not depend on their number
SPLIT = 16  # which the groups of a split batch norm divide, two images each at least
LEEWAY = 1.25  # growth by N log N is 1.43 here, by N^2 it is 4


def faults(recipe: Recipe, images: int = SPLIT, many: bool = True) -> list[Fault]:
    """All faults of a recipe's training step.

    Args:
        recipe: resolved; its own batch size is not asked for.
        images: images of a device, labelled ones where there are both.
        many: those of many devices too, which take most of the time.

    Raises:
        InputError: a recipe that does not build.
    """
    double = (recipe.config.get("trainer") or {}).get("precision") in ("64-true", "64", 64)
    with tempfile.TemporaryDirectory() as folder, quiet(), classes_assumed():
        single = alone(recipe)
        inner.untrained(single, Path(folder))

        def make(callback: Any) -> Any:
            lab = build(single, Path(folder))
            leave_out(lab.trainer, callback)
            return lab.model, lab.data, lab.trainer

        found = on_a_gpu(make, images, double)
        return found + on_many(make, images) if many else found


def on_a_gpu(
    make: Make, images: int = IMAGES, double: bool = False, ready: Any = None
) -> list[Fault]:
    """Tensors on the wrong device, float64, and values that Python waits for.

    Args:
        make: maker of a method, its data and a trainer.
        images: images of a device.
        double: float64 is wanted.
        ready: a batch as a method gets it, of any size; None to make batches ready.
    """
    exam = Exam(str(GPU), double)
    rehearse(make, images, exam, WORLDS[0], WORLDS[0] - 1, ready)
    return list(exam.faults.values())


def on_many(make: Make, images: int = IMAGES, ready: Any = None) -> list[Fault]:
    """Reads on the way back, collectives that differ between ranks, and growth.

    Args:
        make: maker of a method, its data and a trainer.
        images: images of a device.
        ready: as above.
    """

    def run(world: int, rank: int) -> Exam:
        exam = Exam()
        rehearse(make, images, exam, world, rank, ready)
        return exam

    ranks = [run(WORLDS[0], rank) for rank in range(WORLDS[0])]
    more = run(WORLDS[1], 0)
    found = [fault for exam in (*ranks, more) for fault in exam.faults.values()]
    found += _apart([exam.exchanges for exam in ranks])
    first = ranks[0]
    if first.made != more.made or _forms(first) != _forms(more):  # else nothing depends on them
        found += _growth([first, more, run(WORLDS[2], 0)])
    return list(dict.fromkeys(found))


def _forms(exam: Exam) -> list[tuple[str, str, str]]:
    return [(one.kind, one.form, one.where) for one in exam.exchanges]


def _apart(ranks: Sequence[list[Exchange]]) -> Iterator[Fault]:
    """The first collective in which ranks differ, if any: they would wait for ever."""
    for number, every in enumerate(zip_longest(*ranks), 1):
        said = [f"{one.kind} of {one.form}" if one else "none" for one in every]
        other = next((rank for rank, words in enumerate(said) if words != said[0]), None)
        if other is not None:
            what = f"collective {number} is {said[0]} on rank 0, {said[other]} on rank {other}"
            odd = 0 if said.count(said[0]) == 1 else other
            yield Fault("deadlock", what, (every[odd] or every[0] or every[other]).where)
            return


def _growth(exams: Sequence[Exam]) -> Iterator[Fault]:
    """What a device sends, gets or makes that grows faster than the number of devices."""
    sent = [_by_place(exam.exchanges, "sent") for exam in exams]
    got = [_by_place(exam.exchanges, "got") for exam in exams]
    made = [exam.made for exam in exams]
    for does, tables in (("sends", sent), ("gets", got), ("makes", made)):
        for name, where in set().union(*tables):
            sizes = [table[name, where] for table in tables]
            if _faster(sizes):
                yield Fault("growth", f"{name} {does} {_row(sizes)}", where)


def _by_place(exchanges: Iterable[Exchange], part: str) -> Counter[tuple[str, str]]:
    total: Counter[tuple[str, str]] = Counter()
    for one in exchanges:
        total[one.kind, one.where] += getattr(one, part)
    return total


def _faster(sizes: Sequence[int]) -> bool:
    """True if sizes at `WORLDS` leave the line through the first two of them upwards."""
    few, more, most = sizes
    slope = max(0.0, (more - few) / (WORLDS[1] - WORLDS[0]))
    return (most - more) / (WORLDS[2] - WORLDS[1]) > LEEWAY * slope + 0.01 * most / WORLDS[2]


def _row(sizes: Sequence[int]) -> str:
    pairs = [f"{size:,} bytes on {world}" for size, world in zip(sizes, WORLDS, strict=True)]
    return f"{', '.join(pairs)} devices, more than in proportion"
