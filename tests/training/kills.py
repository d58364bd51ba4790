"""Trainings that are killed, continued, and compared with one that nothing disturbed."""

from __future__ import annotations

import os
import random
import signal
import struct
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch

from genlab import checkpoints, runs
from genlab.training import record
from genlab.training.tracking.csv_log import CSVLog
from tests import forks

SILENT = ("track.wandb=off", "trainer.accelerator=cpu", "checkpoint.every_n_steps=7",
          "track.links=5")  # fmt: skip
HOOKS = (  # of a training, where it is killed: before any other callback, or after all
    "on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end", "on_validation_start",
    "on_validation_end", "on_train_epoch_end", "on_save_checkpoint", "on_train_end",
    "on_test_start", "on_test_epoch_end",
)  # fmt: skip


@dataclass(frozen=True)
class Kill:
    """A moment at which a command kills itself, without a word; picklable, for a fork.

    Args:
        hook: hook of a callback.
        call: number of the call, from 1.
        last: True if it comes after all other callbacks.
        after: seconds from the start, in place of a hook.
    """

    hook: str = ""
    call: int = 1
    last: bool = False
    after: float = 0.0

    def __call__(self) -> None:
        """Let the process die at this moment of its training."""
        if self.after:
            threading.Timer(self.after, _die).start()
            return
        fit, killer = L.Trainer.fit, _killer(self.hook, self.call)

        def fit_to_death(trainer: Any, *args: Any, **kwargs: Any) -> None:
            trainer.callbacks.insert(len(trainer.callbacks) if self.last else 0, killer)
            fit(trainer, *args, **kwargs)

        L.Trainer.fit = fit_to_death  # type: ignore[method-assign, assignment]


def _killer(hook: str, call: int) -> L.Callback:
    killer, left = L.Callback(), [call]

    def count(*args: Any, **kwargs: Any) -> None:
        left[0] -= 1
        if not left[0]:
            _die()

    setattr(killer, hook, count)
    return killer


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def drawn(draw: random.Random) -> Kill:
    """A moment at random: of the clock, of a step, or of what comes more rarely."""
    kind = draw.random()
    if kind < 0.15:
        return Kill(after=draw.uniform(0.3, 1.5))
    if kind < 0.6:
        return Kill(draw.choice(HOOKS[:3]), draw.randint(1, 14), draw.random() < 0.5)
    return Kill(draw.choice(HOOKS[3:]), draw.choice((1, 1, 1, 2)), draw.random() < 0.5)


def command(folder: Path, *words: str, kill: Kill | None = None, code: int | None = 0) -> int:
    """Run a command in a folder; ``code`` None takes any that a killed one may have."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120", "GENLAB_RUN_ID": "a"}
    with tempfile.TemporaryDirectory() as said:
        end = forks.run(words, folder, environment, Path(said), kill)
        told = (Path(said) / "err").read_text()
    assert end == code or (code is None and end in (0, -signal.SIGKILL)), f"{end} {words} {told}"
    return end


def train(folder: Path, words: Iterable[str], kills: Iterable[Kill] = ()) -> tuple[Path, int]:
    """Train, dying at each of ``kills`` and going on after it.

    Returns:
        The run, and how often it was killed: a moment may lie before its first step, or behind
        its end.
    """
    killed, start = 0, ("fit", *words, *SILENT)
    for kill in kills:
        if command(folder, *_next(folder, start), kill=kill, code=None) == 0:
            break
        killed += any((folder / "runs").glob("**/run.json"))
    else:
        command(folder, *_next(folder, start))
    return next((folder / "runs").glob("**/recipe.yaml")).parent, killed


def _next(folder: Path, start: tuple[str, ...]) -> tuple[str, ...]:
    run = next((folder / "runs").glob("**/recipe.yaml"), None)
    return start if run is None else ("fit", "--resume", str(run.parent))


def differences(run: Path, straight: Path) -> list[str]:
    """Everything in a run that is not as in the other, but for what a clock says."""
    found = []
    for name in ("last.ckpt", "best.ckpt"):
        files = [r / "checkpoints" / name for r in (run, straight)]
        if any(f.is_file() for f in files):
            found += [f"{name}: {d}" for d in _apart(_content(files[0]), _content(files[1]))]
    found += [f"metrics.csv: {d}" for d in _apart(_table(run), _table(straight))]
    found += [f"metrics.json: {d}" for d in _apart(_final(run), _final(straight))]
    found += [f"links: {d}" for d in _apart(_links(run), _links(straight))]
    return found + [f"files: {d}" for d in _apart(_names(run), _names(straight))]


def _links(run: Path) -> dict[str, Any]:
    """What links.json and files.json say of states; the files of two runs differ by their times."""
    book, seal = (runs.read_json(run / "links" / name) for name in ("links.json", "files.json"))
    states = [
        {k: v for k, v in one.items() if k not in ("sha256", "bytes")} for one in book["links"]
    ]
    return book | {"links": states, "ends": seal["ends"], "files": list(seal["files"])}


def _content(file: Path) -> dict[str, Any]:
    content = checkpoints.read(file)
    for state in content["callbacks"].values():
        state.pop("seconds", None)
    return content


def _table(run: Path) -> list[dict[str, Any]]:
    return [_without_clocks(row) for row in CSVLog(run / "metrics.csv").rows()]


def _final(run: Path) -> dict[str, Any]:
    return _without_clocks(runs.read_json(run / "metrics.json"))


def _names(run: Path) -> list[str]:
    return sorted(str(file.relative_to(run)) for file in run.rglob("*"))


def _without_clocks(figures: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in figures.items() if k not in record.MEASURED}


def _apart(one: Any, other: Any, place: str = "") -> list[str]:
    """Places at which two nested values differ in type or in a bit."""
    if type(one) is not type(other):
        return [f"{place}: {type(one).__name__} and {type(other).__name__}"]
    if isinstance(one, torch.Tensor):
        same = (one.shape, one.dtype) == (other.shape, other.dtype) and _bits(one) == _bits(other)
        return [] if same else [f"{place} differs"]
    if isinstance(one, dict):
        keys = list(dict.fromkeys([*one, *other]))
        if list(one) != list(other):
            lost = [f"{place}: {k} in one only" for k in keys if (k in one) != (k in other)]
            return lost or [f"{place}: another order, {list(one)} and {list(other)}"]
        return [d for k in keys for d in _apart(one[k], other[k], f"{place}.{k}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{place}: {len(one)} and {len(other)}: {one} {other}"[:600]]
        pairs = enumerate(zip(one, other, strict=True))
        return [d for k, pair in pairs for d in _apart(*pair, f"{place}.{k}")]
    same = (
        struct.pack("d", one) == struct.pack("d", other) if isinstance(one, float) else one == other
    )
    return [] if same else [f"{place}: {one} {other}"]


def _bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
