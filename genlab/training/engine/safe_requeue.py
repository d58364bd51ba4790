"""Stopping of a training at a signal, where it can be resumed bit for bit."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
import torch

from genlab import distributed
from genlab.cluster import signals, slurm
from genlab.internals import lightning_loops
from genlab.training.engine.checkpointing import Checkpoints, validation_follows

NAMES = ("", "SIGTERM", "SIGUSR1", "Ctrl-C")
EXIT = (0, 143, 138, 130)  # 128 + the signal's number


class RanksDisagree(Exception):
    """Ranks have loaded different checkpoints; a file system that lags shows the same ones later.

    No ValueError or RuntimeError: those are taken for wrong input, and input is not tried again.
    """


class Stopped(Exception):
    """Training has stopped at a signal, on all ranks, with its checkpoint written.

    Args:
        step: optimiser steps done.
        flag: the strongest signal that any rank has got, see `signals.raised`.
    """

    def __init__(self, step: int, flag: int) -> None:
        super().__init__(f"{NAMES[flag]} at step {step:,}")
        self.step, self.flag = step, flag
        self.settled = True

    @property
    def exit_code(self) -> int:
        """Exit code of a process ended by a signal; inside Slurm a stopped job has not failed."""
        return 0 if slurm.inside() and self.settled else EXIT[self.flag]

    def settle(self) -> str:
        """Requeue a job, unless Slurm already does so or ends it; return a message.

        Raises:
            SlurmError: Slurm refuses to requeue, or starts are too slow for the time limit.
        """
        if not slurm.inside():
            return "the last checkpoint is whole"
        try:
            return slurm.settle(signals.STRENGTH[self.flag - 1])
        except slurm.NoAnswerError as error:
            self.settled = False
            return str(error)


class SafeRequeue(L.Callback):
    """Checkpoint and stop after the batch in which any rank was signalled.

    Lightning saves inside the signal handler, where ranks may be in different collectives: half of
    the trials hung at full step rate. Here a handler only raises a flag. Ranks compare flags at the
    end of a batch, all at the same one, by one small all-reduce; how many steps lie between two of
    them follows from the slowest rank's step time.

    Outside Slurm it does the same for SIGTERM and Ctrl-C, and nothing is requeued.

    Args:
        checkpoints: callback that writes ``last.ckpt``.
        every_n_seconds: approximate interval at which several ranks compare flags.
    """

    def __init__(self, checkpoints: Checkpoints, every_n_seconds: float = 0.25) -> None:
        self.checkpoints, self.every_n_seconds = checkpoints, every_n_seconds
        self._step = self._looked = self._next = 0
        self._looked_at = 0.0
        self._flag, self._trained = 0, False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        _listen()
        self._trained = True  # a test of its own is interrupted as any command is
        lightning_loops.spare_sigterm_broadcast(trainer)  # ranks agree by themselves
        self._require_one_step(trainer)
        self._step = self._next = trainer.global_step
        if self._agreed(trainer):
            raise Stopped(trainer.global_step, self._flag)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.global_step == self._step:
            return  # inside an accumulation window
        self._step = trainer.global_step
        self._note_progress()
        waits = trainer.is_last_batch or validation_follows(trainer, batch_idx)
        if self._agreed(trainer) and not waits:
            self._stop(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._flag:
            self._stop(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._flag and trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._stop(trainer)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._note_progress()
        signals.hold()  # Lightning's teardown takes our handlers away

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        signals.hold()

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._trained:
            _listen()

    def on_test_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        here = self._trained and trainer.is_global_zero
        if here and signals.raised():  # nothing to save: no other rank is asked
            raise Stopped(trainer.global_step, signals.raised())

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        signals.hold()

    def _stop(self, trainer: L.Trainer) -> None:
        self.checkpoints.save_now(trainer)
        self._note_progress()
        raise Stopped(trainer.global_step, self._flag)

    def _agreed(self, trainer: L.Trainer) -> int:
        """The strongest flag of all ranks; the same on all, and at the same step."""
        if trainer.world_size == 1:
            self._flag = signals.raised()
        elif self._step >= self._next and not self._flag:
            now, steps = time.monotonic(), self._step - self._looked
            pace = (now - self._looked_at) / steps if self._looked_at and steps else 1e9
            mine = torch.tensor([float(signals.raised()), pace])
            flag, slowest = distributed.all_reduce_max(mine.to(_device(trainer))).tolist()
            self._flag = int(flag)
            self._next = self._step + max(1, min(1000, int(self.every_n_seconds / slowest)))
            self._looked, self._looked_at = self._step, now
        return self._flag

    def _require_one_step(self, trainer: L.Trainer) -> None:
        """All ranks must have loaded the same checkpoint; file systems show new files late."""
        mine = torch.tensor([trainer.global_step, -trainer.global_step], device=_device(trainer))
        most, least = distributed.all_reduce_max(mine).tolist()
        if most != -least:
            raise RanksDisagree(f"ranks continue from different steps, {-least} and {most}")

    def _note_progress(self) -> None:
        if self.checkpoints.newest is not None:
            slurm.note_progress()


def _listen() -> None:
    if slurm.inside():
        signals.listen(at_once=slurm.guard)
    else:
        signals.listen(interrupts=True)


def _device(trainer: L.Trainer) -> torch.device:
    """The device on which this process's collectives run."""
    return trainer.strategy.root_device
