"""Links that a run of its length must have, compared with those in its links.json."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genlab import runs
from genlab.training.engine.links import BOOK, FOLDER, spacing, window
from genlab.training.proof.origin import changed_at, started_at
from genlab.training.proof.report import Report


def check(run: Path, book: dict[str, Any], report: Report) -> None:
    """Compare the links with the steps and windows that follow from their number and distance.

    Args:
        run: the run directory.
        book: content of its links.json.
        report: list of findings to add to.
    """
    end = runs.whole_number(runs.read_json(run / "metrics.json").get("step"))
    since, name = changed_at(run), f"{FOLDER}/{BOOK}"
    told = {one["step"]: one for one in book["links"]}
    due = {step for step in _due(book, end) if step > since or not since}
    for step in sorted(due - told.keys()):
        if step and step in started_at(run):
            report.unproved.append(f"the state of step {step:,}, where a start ended: no link")
        else:
            report.refuse(f"{name} has no link of step {step:,}")
    for step, one in told.items():
        if step > since or not since:
            _check_entry(book, one, end, step in due or step == end, report)
    if book["most"] < 1:
        report.unproved.append(f"links behind step {max(told, default=0):,}: none were kept")


def _check_entry(
    book: dict[str, Any], one: dict[str, Any], end: int, is_due: bool, report: Report
) -> None:
    name = f"{FOLDER}/{BOOK}: the link of step {one['step']:,}"
    if not is_due:
        report.refuse(f"{name} is not due there")
    elif one["after"] not in _windows(book, one["step"]):
        report.refuse(f"{name} has a window of {one['after']:,} steps")
    elif one["later"] is None and one["step"] + one["after"] <= end:
        report.refuse(f"{name} lacks the state behind its window")


def _due(book: dict[str, Any], end: int) -> Iterator[int]:
    """Steps of the links behind which training went on; up to the last one if none more fit."""
    steps = [one["step"] for one in book["links"]]
    if book["most"] < 1:
        every, last = book["every"], max(steps, default=0)
        while last and every < last and not any(step % (2 * every) for step in steps):
            every *= 2
    else:
        last = _last(book, end)
        every = spacing(book, last)
    yield from range(0, last + 1, every)


def _last(book: dict[str, Any], end: int) -> int:
    """The last step before the end at which a link is due: a smaller distance ends earlier."""
    every, found = book["every"], 0
    while book["most"] >= 1 and every < end:
        found = max(found, min(end - 1, book["most"] * every) // every * every)
        every *= 2
    return found


def _windows(book: dict[str, Any], step: int) -> Iterator[int]:
    """Steps behind a link that may be trained again: its size limits `most` after the first two."""
    if book["most"] < 1:
        yield from range(1, book["every"] + 1)
    else:
        yield window(book, step)
        if step <= book["every"]:
            yield window(book | {"most": 2 * book["number"]}, step)
