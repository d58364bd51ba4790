"""Trainings of several processes of which one ends."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock

import lightning as L
import torch
from torch.utils.data import DataLoader, TensorDataset

from genlab.testing.running import quiet_trainer
from genlab.training.engine import peers
from genlab.training.engine.peers import Peers
from tests.internals.line import Line


class Ends(L.Callback):
    """One rank ends: at a step, in validation, or in the set-up.

    Args:
        rank: number of the process.
        how: ``kill``, ``stop`` (SIGSTOP), ``exit`` or ``raise``.
        where: ``step``, ``validation`` or ``setup``.
        step: optimiser steps before it.
    """

    def __init__(self, rank: int, how: str, where: str = "step", step: int = 3) -> None:
        self.rank, self.how, self.where, self.step = rank, how, where, step

    def setup(self, trainer: L.Trainer, *_: Any, **__: Any) -> None:
        self._end(trainer, "setup")

    def on_before_zero_grad(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            self._end(trainer, "step")

    def on_validation_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        self._end(trainer, "validation")

    def _end(self, trainer: L.Trainer, where: str) -> None:
        if where != self.where or trainer.global_rank != self.rank:
            return
        if self.how == "raise":
            raise ArithmeticError("this program is wrong")
        if self.how == "exit":
            os._exit(3)
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[self.how])


class NeverStarts(L.Callback):
    """Its process ends before it has met the others."""

    def __init__(self) -> None:
        if os.environ.get("LOCAL_RANK", "0") != "0":
            os._exit(3)


class Late(L.Callback):
    """All processes but the first meet it late.

    Args:
        seconds: of lateness.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        time.sleep(0.0 if os.environ.get("LOCAL_RANK", "0") == "0" else seconds)


def ends(rank: int, world: int, folder: str, how: str) -> None:
    """A short training; what the ranks that stay know of the other's end, in a file each."""
    own = Peers()
    options = {"strategy": "ddp", "devices": world, "max_steps": 5}
    trainer = quiet_trainer(Path(folder, "run"), own, Ends(3, how), **options)
    try:
        with mock.patch("genlab.training.engine.peers.GRACE", 0.5):
            trainer.fit(Line(), DataLoader(TensorDataset(torch.ones(64, 1)), batch_size=4))
    finally:
        Path(folder, str(rank)).write_text(str(own.lost))


class EndsAfterwards(L.Callback):
    """Rank 1's process ends in an error after its training's end, rank 0 takes its time there."""

    def teardown(self, trainer: L.Trainer, *_: Any, **__: Any) -> None:
        if trainer.state.fn != "test":
            return
        peers.HANGING = 1.0
        if trainer.global_rank:
            atexit.register(os._exit, 3)
        else:
            time.sleep(8)


class EndsWhileWritten(L.Callback):
    """Rank 1's process ends while rank 0 writes the checkpoint of step 4, longer than a clock."""

    def on_save_checkpoint(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step != 4:
            return
        peers.HANGING = 1.0
        if trainer.global_rank:
            threading.Timer(0.5, os._exit, (3,)).start()
            return
        plain = torch.save

        def slowly(*given: Any, **options: Any) -> None:
            time.sleep(5)
            plain(*given, **options)

        mock.patch("torch.save", slowly).start()
