"""Links: whole states of a training, kept so that a stranger can check that it took place.

Every link is a checkpoint ``links/step-N.ckpt`` with its SHA-256, the hash of the state in it and
the hash of the state some steps later: whoever trains these steps again must arrive at the latter.
"""

from __future__ import annotations

import hashlib
import math
import sys
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Timer

from genlab import runs
from genlab.checkpoints import state
from genlab.errors import first_line
from genlab.internals import lightning_loops
from genlab.optim import StepPlan
from genlab.training.engine import machine
from genlab.training.engine.boundary import AtBoundary

FOLDER, BOOK, SEAL = "links", "links.json", "files.json"
SHARE = 400  # of a run that is trained again at one link: its length over this


class Links(AtBoundary):
    """Keep links, spread evenly over a run whose length nobody may know in advance.

    A link is due every ``every`` steps. Where more than ``2 * number`` would lie in the folder,
    every other one goes and ``every`` doubles: whether a step has a link follows from its number
    alone, so that a killed and continued run has the links of the straight one.

    Args:
        number: links of a run whose length is known; up to twice as many in any other.
        gigabytes: size of the folder, in 10^9 bytes; links are fewer if they are too large.
        limited_by: setting that says so.
    """

    def __init__(self, number: int, gigabytes: float, limited_by: str) -> None:
        super().__init__()
        self.number, self.gigabytes, self.limited_by = number, gigabytes, limited_by
        self.folder = Path()
        self.book: dict[str, Any] = {}
        self._start: dict[str, Any] | None = None
        self._opened = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.folder = Path(trainer.default_root_dir) / FOLDER

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._opened, step = False, trainer.global_step
        book = trainer.strategy.broadcast(runs.read_json(self.folder / BOOK))
        if not is_book(book):
            every = first_spacing(trainer, self.number)
            book = {"number": self.number, "every": every, "most": 2 * self.number, "links": []}
        now = machine.facts(trainer.strategy.root_device) | {"processes": trainer.world_size}
        moved = step if book.get("machine", now) != now else book.get("moved", 0)
        self.book = book | {"machine": now, "moved": moved}
        kept = [one for one in book["links"] if one["step"] <= step]
        self.book["links"] = [
            one if one["step"] + one["after"] <= step else one | {"later": None} for one in kept
        ]
        if step == 0:
            content = lightning_loops.checkpoint_at(trainer, None)
            self.book["links"] = [self._entry(0, content)]

    def on_step(self, trainer: L.Trainer, step: int) -> None:
        """Take the hash that a link of some steps ago waits for, before any validation."""
        waiting = [one for one in self.book["links"] if one["step"] + one["after"] == step]
        if not self._opened:
            self._open(trainer)
        if waiting:
            found = state.digest(lightning_loops.checkpoint_at(trainer, None))
            for one in waiting:
                one["later"] = found
            self._write(trainer)

    def at_boundary(self, trainer: L.Trainer, step: int) -> None:
        """Write a link if one is due."""
        if self.book["most"] < 1 or step % spacing(self.book, step):
            return
        self._thin(trainer, step)
        content = lightning_loops.checkpoint_at(trainer, None)
        entry = self._entry(step, content)
        file = self.folder / file_name(step)
        problem = ""
        try:
            trainer.strategy.save_checkpoint(content, file)
            if trainer.is_global_zero:
                with file.open("rb") as stream:
                    entry["sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
                entry |= {"file": file.name, "bytes": file.stat().st_size}
        except OSError as error:  # a proof must not end the training
            problem = first_line(error)
        problem, entry = trainer.strategy.broadcast((problem, entry))
        if problem:
            self._give_up(trainer, f"the state of step {step:,} cannot be kept: {problem}")
            return
        self.book["links"].append(entry)
        if len(self.book["links"]) <= 2:
            self._limit(trainer, entry["bytes"])
        self._write(trainer)

    def _entry(self, step: int, content: dict[str, Any]) -> dict[str, Any]:
        after = window(self.book, step)
        found = {"step": step, "file": None, "state": state.digest(content)}
        return found | {"after": after, "later": None}

    def _open(self, trainer: L.Trainer) -> None:
        """Make the folder, without what an earlier start left behind this step."""
        self._opened = True
        if trainer.is_global_zero:
            self.folder.mkdir(exist_ok=True)
            (self.folder / SEAL).unlink(missing_ok=True)
            for file in self.folder.glob(".*.tmp"):
                file.unlink(missing_ok=True)
            self._sweep()
        self._write(trainer)

    def _thin(self, trainer: L.Trainer, step: int) -> None:
        """Drop links between which the distance is now too small."""
        every = spacing(self.book, step)
        kept = [one for one in self.book["links"] if one["step"] % every == 0]
        if len(kept) < len(self.book["links"]):
            self.book["links"] = kept
            self._write(trainer)
            if trainer.is_global_zero:
                self._sweep()

    def _sweep(self) -> None:
        known = {one["file"] for one in self.book["links"]}
        for file in self.folder.glob("step-*.ckpt"):
            if file.name not in known:
                file.unlink(missing_ok=True)

    def _limit(self, trainer: L.Trainer, size: int) -> None:
        """Let no more links be kept than have room, and say so."""
        room = int(self.gigabytes * 1e9 / size)
        if room >= self.book["most"]:
            return
        self.book["most"] = room
        limit = f"{self.limited_by}={self.gigabytes:g} holds {room} states of {size / 1e9:.2g} GB"
        if room < 1:
            self._give_up(trainer, limit)
        elif room < self.number and trainer.is_global_zero:
            print(f"{limit}: fewer than {self.number} links are kept", file=sys.stderr)

    def _give_up(self, trainer: L.Trainer, why: str) -> None:
        """Keep no further link; those that lie there stay."""
        if self.book["most"] < 1 and len(self.book["links"]) > 1:
            self.book["links"].pop()
        self.book["most"] = 0
        if trainer.is_global_zero:
            print(f"{why}; no further links are kept", file=sys.stderr)
            self._sweep()
        self._write(trainer)

    def _write(self, trainer: L.Trainer) -> None:
        if trainer.is_global_zero:
            runs.write_json(self.folder / BOOK, self.book)


def is_book(content: dict[str, Any]) -> bool:
    """True if links.json is whole: every entry has its steps, file and hashes, in order."""
    links, machine = content.get("links"), content.get("machine", {})
    numbers = [content.get(key) for key in ("every", "most", "number")]
    if not isinstance(links, list) or not isinstance(machine, dict):
        return False
    if not all(_is_number(n) for n in numbers) or not all(map(_is_entry, links)):
        return False
    steps = [one["step"] for one in links]
    return bool(content["every"]) and steps == sorted(set(steps))


def _is_entry(one: Any) -> bool:
    """True for a link whose file has the name of its step; the initialisation has none."""
    if not isinstance(one, dict) or not {"file", "state", "later"} <= one.keys():
        return False
    if not _is_number(one.get("step")) or not _is_number(one.get("after")):
        return False
    name = file_name(one["step"]) if one["step"] else None
    hashes = isinstance(one["state"], str) and isinstance(one["later"], str | None)
    return bool(one["file"] == name and hashes)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def file_name(step: int) -> str:
    """Name of a link's file."""
    return f"step-{step:08d}.ckpt"


def first_spacing(trainer: L.Trainer, number: int) -> int:
    """Steps between the first links: as many as give ``number`` of them to a run of known length.

    A run that may end early begins with a quarter of them, one without end with those of an epoch.
    """
    plan = StepPlan.of(trainer)
    epoch = plan.pace if plan else 0.0
    epochs = trainer.max_epochs or 0
    ends = [trainer.max_steps, plan.step_at(epochs) if plan and epochs > 0 else 0]
    steps: float = min([end for end in ends if end > 0], default=math.inf)
    if not steps < math.inf:
        steps = max(1.0, epoch)
    elif trainer.early_stopping_callbacks or any(isinstance(c, Timer) for c in _all(trainer)):
        steps = steps / 4
    return max(1, math.ceil(min(steps, 1e9) / (number + 1)))


def _all(trainer: L.Trainer) -> list[L.Callback]:
    found: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return found


def spacing(book: dict[str, Any], step: int) -> int:
    """Steps between the links that are kept when a run is at ``step``."""
    every: int = book["every"]
    while step > max(1, book["most"]) * every:
        every *= 2
    return every


def window(book: dict[str, Any], step: int) -> int:
    """Steps that are trained again at a link: ten such windows are a fortieth of the run.

    The rest of a twentieth of its time is for reading states and building the method anew.
    """
    every = spacing(book, step)
    links = min(book["number"], max(1, book["most"] // 2))
    return min(every, max(1, every * links // SHARE))
