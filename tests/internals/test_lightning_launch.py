"""The launcher's watch: a child's end in an error is told, once, with its rank and code."""

from __future__ import annotations

import queue
import subprocess
import sys
from datetime import timedelta
from typing import Any
from unittest import mock

import lightning as L
from lightning.pytorch.strategies import DDPStrategy

from genlab.internals import lightning_launch as parts
from tests.optim.tiny import quiet


def two(**options: Any) -> L.Trainer:
    return quiet(accelerator="cpu", devices=2, strategy=DDPStrategy(**options))


def started(trainer: L.Trainer, program: str) -> None:
    """In place of what Lightning would start: the same command once more."""
    child = subprocess.Popen([sys.executable, "-c", program])
    trainer.strategy.launcher.procs = [child]  # type: ignore[union-attr]


def launched(trainer: L.Trainer, program: str) -> str:
    kind = type(trainer.strategy.launcher)
    with mock.patch.object(kind, "_call_children_scripts") as call:
        call.side_effect = lambda: started(trainer, program)
        return str(trainer.strategy.launcher.launch(str, 7, trainer=trainer))  # type: ignore[union-attr]


def test_watch_children() -> None:
    seen: queue.Queue[tuple[int, int]] = queue.Queue()
    trainer = two()
    parts.watch_children(trainer, lambda rank, code: seen.put((rank, code)))
    assert launched(trainer, "raise SystemExit(3)") == "7"
    assert seen.get(timeout=60) == (1, 3)


def test_end_children() -> None:
    trainer = two()
    parts.watch_children(trainer, lambda rank, code: None)
    launched(trainer, "import time; time.sleep(600)")
    parts.end_children(trainer, 0.1)
    (child,) = trainer.strategy.launcher.procs  # type: ignore[union-attr]
    assert child.wait(10) == -9
    parts.end_children(quiet())  # one process has started no other


def test_timeout() -> None:
    assert parts.timeout(two(timeout=timedelta(seconds=20))) == timedelta(seconds=20)
    assert parts.timeout(two()) == timedelta(minutes=30)
    assert parts.timeout(quiet()) is None
