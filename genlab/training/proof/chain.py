"""Links of a run compared with the states that its steps, trained again, come to."""

from __future__ import annotations

import math
import os
import random
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from genlab import recipes, runs
from genlab.checkpoints import read, state
from genlab.errors import InputError, first_line
from genlab.training.engine import machine
from genlab.training.engine.failure import NotFiniteError
from genlab.training.engine.links import FOLDER
from genlab.training.proof import tables, values
from genlab.training.proof.files import ENDS
from genlab.training.proof.origin import changed_at, tell_parents
from genlab.training.proof.report import Report
from genlab.training.proof.retraining import Part, Seen, train_again

TOLERANCE = 0.05  # distance from a state, as a share of its segment's way, on another machine
Link = dict[str, Any]  # an entry of links.json


class Chain:
    """The links of a run, and what is known of the machine that trained it.

    Args:
        run: the run directory.
        book: content of its links.json; empty without links.
        report: list of findings to add to.
        folder: place for what trainings write.
    """

    def __init__(self, run: Path, book: dict[str, Any], report: Report, folder: Path) -> None:
        self.run, self.book, self.report, self.folder = run, book, report, folder
        known = book.get("machine", {})
        if threads := runs.whole_number(known.get("threads")):
            torch.set_num_threads(min(max(1, threads), 4 * (os.cpu_count() or 1)))
        self.apart = machine.differences(known) if known else ""
        self.exact = not self.apart and known.get("device", "cpu") == "cpu"
        if self.apart:
            report.unproved.append(f"bits, which another machine may not repeat: {self.apart}")
        elif not self.exact:
            report.unproved.append("bits, which a GPU does not promise to repeat")

    def can_train(self) -> bool:
        """True if steps of the run can be trained again here; says why not."""
        processes = self.book.get("machine", {}).get("processes", 1)
        if not self.book:
            why = _without_links(self.run)
        elif processes != 1:
            why = f"it was trained by {processes} processes, whose bits one cannot repeat"
        else:
            return True
        self.report.unproved.append(f"the training itself: {why}")
        return False

    def links(self) -> list[Link]:
        """The links from which training can go on; says which ones are left out."""
        since, moved = changed_at(self.run), runs.whole_number(self.book.get("moved"))
        every: list[Link] = self.book["links"]
        self.report.exact = self.exact
        if since:
            self.report.unproved.append(
                f"steps before {since:,}, where settings or code were changed"
            )
        if moved > since:
            self.report.unproved.append(f"steps before {moved:,}, of another machine")
        later = [one for one in every if one["step"] >= moved and _is_later(one, since)]
        gone = [one for one in later if one["file"] and not self._file(one).is_file()]
        if gone:
            self.report.unproved.append(f"{len(gone)} of {len(later)} links: their files are gone")
        found = [one for one in later if one not in gone]
        if tell_parents(self.run, self.report) and found and found[0]["file"] is None:
            self.report.unproved.append("the start: the file of its parent is gone")
            found = found[1:]
        self.report.since = found[0]["step"] if found else 0
        if self.report.since > max(since, moved):
            self.report.unproved.append(f"steps before {self.report.since:,}, the first link's")
        return found

    def _file(self, link: Link) -> Path:
        return self.run / FOLDER / str(link["file"])

    def spots(self, count: int, seed: int | None) -> None:
        """Train windows again that are drawn from a seed."""
        windows = [one for one in self.links() if one["later"]]
        self.report.seed = secrets.randbelow(2**32) if seed is None else seed
        drawn = random.Random(self.report.seed).sample(windows, min(count, len(windows)))
        before, steps = len(self.report.faults), 0
        for one in sorted(drawn, key=lambda link: int(link["step"])):
            seen = self._train(self._part(one, window=True))
            if seen is not None:
                steps += seen.steps
                self._compare_start(one, seen)
                self._compare(f"{_name(one)}: {one['after']:,} steps on", one["later"], seen.later)
        total = runs.whole_number(runs.read_json(self.run / "metrics.json").get("step"))
        self.report.trained = steps
        of = f"{len(drawn)} of {len(windows)} windows, {steps:,} of {total:,} steps"
        self.report.show(f"{of} trained again come to the same states", before)
        self._say_odds(len(windows), len(drawn))

    def _say_odds(self, windows: int, drawn: int) -> None:
        left = windows - drawn
        if left and not self.exact:
            self.report.unproved.append(f"the other {left} windows")
        elif left:
            odds = [f"{k}: {chance(windows, k, drawn):.0%}" for k in _some(windows)]
            self.report.unproved.append(
                f"the other {left} windows; probability of refusal by number of false ones: "
                + ", ".join(odds)
            )
        self.report.unproved.append(
            "steps between windows, and those to best.ckpt and last.ckpt: --full trains them again"
        )

    def full(self) -> None:
        """Train every segment again, from the initialisation to the end."""
        links, before = self.links(), len(self.report.faults)
        steps, written = 0, list[Path]()
        for number, one in enumerate(links):
            after = links[number + 1] if number + 1 < len(links) else None
            written.append(self.folder / f"rows-{number}.csv")
            seen = self._train(self._part(one, after=after), written[-1])
            if seen is None:
                continue
            steps += seen.steps
            self._compare_start(one, seen)
            if one["later"]:
                self._compare(f"{_name(one)}: {one['after']:,} steps on", one["later"], seen.later)
            if after is not None:
                self._compare(f"{_name(after)} from {_name(one)}", after["state"], seen.last, seen)
            else:
                told = self._end(ENDS[0])[1]
                self._compare(f"last.ckpt from {_name(one)}", told, seen.last, seen)
        first = links[0]["step"] if links else 0
        self._compare_best(first)
        if self.exact and links:
            for fault in tables.differences(self.run, written, first):
                self.report.refuse(fault)
        self.report.trained = steps
        self.report.show(f"{steps:,} steps trained again come to the same states", before)

    def _part(self, link: Link, window: bool = False, after: Link | None = None) -> Part:
        file = self._file(link) if link["file"] else None
        if window:
            return Part(link["step"], file, link["after"])
        measured = link["after"] if link["later"] else 0
        if after is None:
            last = self.run / "checkpoints" / ENDS[0]
            step = runs.whole_number(runs.read_json(self.run / "metrics.json").get("step"))
            return Part(link["step"], file, measured, step, last, True)
        return Part(link["step"], file, measured, after["step"], self._file(after))

    def _train(self, part: Part, table: Path | None = None) -> Seen | None:
        name = f"{FOLDER}/{part.link.name}" if part.link else "the initialisation"
        try:
            seen = train_again(self.run, part, self.folder, table)
        except (InputError, NotFiniteError, RuntimeError, LookupError, TypeError) as error:
            self.report.refuse(f"{name} cannot be trained from: {first_line(error)}")
            return None
        if seen.option:
            self.report.refuse(f"{name}: its optimiser is not the recipe's: {seen.option}")
        return seen

    def _compare_start(self, link: Link, seen: Seen) -> None:
        if link["file"] is None:
            self._compare("the initialisation by the seed", link["state"], seen.first)

    def _compare(self, what: str, told: Any, found: str, seen: Seen | None = None) -> None:
        """Compare a state with what is told of it."""
        if found and told == found:
            return
        share = seen.share if seen else None
        if self.exact or not found:
            tensor = f", first in {seen.tensor}" if seen and seen.tensor else ""
            self.report.refuse(f"{what}: another state{tensor}")
        elif share is None:
            self.report.unproved.append(f"{what}: other bits")
        elif share > TOLERANCE:
            self.report.refuse(f"{what}: {share:.1%} of the way apart, more than {TOLERANCE:.0%}")
        else:
            self.report.unproved.append(f"{what}: other bits, {share:.1%} of the way apart")

    def _end(self, name: str) -> tuple[int, str]:
        """Step and hash of the state in a checkpoint of the run; empty if it cannot be read."""
        with suppress(InputError, AttributeError, TypeError, OSError):
            content = read(self.run / "checkpoints" / name)
            return runs.whole_number(content.get("global_step")), state.digest(content)
        return 0, ""

    def _compare_best(self, first: int) -> None:
        """Compare best.ckpt with the best of the training again."""
        name, again = ENDS[1], self.folder / "checkpoints" / ENDS[1]
        step, told = self._end(name)
        if not self.exact:
            self.report.unproved.append(f"{name}, whose bits nothing here must repeat")
        elif 0 < step <= first:
            self.report.unproved.append(f"{name}: it lies before the steps trained again")
        elif told or again.is_file():
            found = state.digest(read(again)) if again.is_file() else ""
            self._compare(f"{name} of step {step:,}", told, found)
            self._compare_metrics(name, again)

    def _compare_metrics(self, name: str, again: Path) -> None:
        """Compare the metrics of the selected state, which no hash covers."""
        with suppress(InputError, AttributeError, TypeError, OSError):
            told = values.validated(values.best_of(read(self.run / "checkpoints" / name)))
            found = values.validated(values.best_of(read(again)))
            for key in sorted(told.keys() | found.keys()):
                if repr(told.get(key)) != repr(found.get(key)):
                    self.report.refuse(f"{name}: {key} is {told.get(key)}, not {found.get(key)}")


def chance(windows: int, false: int, drawn: int) -> float:
    """Probability that one of the ``false`` ones is among the windows that are drawn."""
    return 1 - math.comb(windows - false, drawn) / math.comb(windows, drawn)


def _some(windows: int) -> list[int]:
    return sorted({1, max(1, windows // 4), max(1, windows // 2)})


def _is_later(link: Link, since: int) -> bool:
    """True for a link that was written under the settings since a step; 0 for all."""
    return bool(link["step"] > since or not since)


def _name(link: Link) -> str:
    return f"{FOLDER}/{link['file']}" if link["file"] else "the initialisation"


def _without_links(run: Path) -> str:
    """Why a run has no links: its recipe asks for none, or they are gone."""
    with suppress(InputError):
        wanted = runs.whole_number((recipes.of_run(run).config.get("track") or {}).get("links"))
        if wanted:
            return f"its recipe asks for {wanted} links, and {FOLDER}/ is gone"
    return "the run keeps no links (track.links=20 does)"
