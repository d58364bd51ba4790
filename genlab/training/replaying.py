"""The step that was not finite, once more: the first module and tensor at fault."""

from __future__ import annotations

import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
from torch import Tensor

from genlab import distributed, recipes
from genlab.cluster import launch
from genlab.errors import RunError
from genlab.internals import lightning_loops
from genlab.training import continuing
from genlab.training.endings import input_errors
from genlab.training.engine import capture
from genlab.training.engine.failure import bits_of, lists
from genlab.training.engine.finite import FiniteGuard
from genlab.training.engine.first_tensor import FirstTensor

if TYPE_CHECKING:
    from genlab.training.building import Lab


@dataclass
class Replay:
    """Outcome of a step that was run again.

    Attributes:
        first: ``MODULE: KIND`` of the first tensor that is not finite; empty if all were finite.
        looks: number of looks until then, see `FirstTensor`.
        rank: process that saw it first.
        bits: each batch's loss as float32, in hexadecimal.
        indices: positions of each batch's images in the data set.
    """

    first: str = ""
    looks: int = 0
    rank: int = 0
    bits: list[str] | None = None
    indices: list[list[int]] | None = None


def replay(run: Path, devices: int | None = None) -> Replay:
    """Run the step again that ended a run: same weights, images, views and random numbers.

    Nothing is written into the run.

    Args:
        run: directory of a run that ended at a step that was not finite.
        devices: number of devices; None for the recipe's.

    Raises:
        RunError: there is no such step, its record is damaged, or it had another number of
            processes.
    """
    facts = capture.read(run)
    before = run / capture.FOLDER / capture.BEFORE
    if not facts or not before.is_file():
        raise RunError(
            f"{run} has no step to replay: training did not end at one that is not finite"
        )
    with tempfile.TemporaryDirectory() as folder:
        lab = _lab(run, before, Path(folder), devices)
        ran, run_now = len(facts["ranks"]), lab.trainer.world_size
        if ran != run_now:
            raise RunError(
                f"a replay requires as many processes as its step had: {ran}, not {run_now}\n"
                f"in {run}: trainer.devices of recipe.yaml, or the job's tasks"
            )
        guard = Rehearsal(lab.model, facts)
        callbacks: list[L.Callback] = lab.trainer.callbacks  # type: ignore[attr-defined]
        callbacks[:] = [guard if isinstance(c, FiniteGuard) else c for c in callbacks]
        try:
            with input_errors(lab.recipe):
                lab.trainer.fit(lab.model, datamodule=lab.data, ckpt_path=before, weights_only=True)
        except _DoneError:
            pass
    return guard.found


def _lab(run: Path, before: Path, folder: Path, devices: int | None) -> Lab:
    """A run's recipe built again, to write into another folder."""
    from genlab.training.building import build

    recipe = recipes.of_run(run)
    recipes.check_keys(recipe)
    trainer = recipe.config.setdefault("trainer", {})
    launch.arrange(trainer, *launch.shape())
    if devices is not None:
        trainer["devices"] = devices
    continuing.take_from(continuing.content(before), recipe)
    return build(recipe, folder)


class _DoneError(Exception):
    """The step has been run."""


class Rehearsal(FiniteGuard):
    """Watches the first step of a fit and ends it before any update.

    Args:
        method: its modules are watched.
        facts: recorded facts of the step, see `capture`.
    """

    def __init__(self, method: L.LightningModule, facts: dict[str, Any]) -> None:
        super().__init__(late=False)
        self.facts, self.found = facts, Replay()
        self.watch = FirstTensor(method, facts.get("odd", ()))

    @property
    def state_key(self) -> str:
        """The guard's, whose state the checkpoint has."""
        return FiniteGuard.__qualname__

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        lightning_loops.pass_over_steps(trainer, int(self.facts.get("done", 0)))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.watch.__enter__()

    def on_before_backward(
        self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor
    ) -> None:
        self.watch.see("loss", loss)
        super().on_before_backward(trainer, pl_module, loss)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.watch.see("batch", batch)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        if self._opening:
            self._finish()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._finish()

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._finish()

    def _end(self, failure: Any) -> None:
        self.watch.see_gradients()
        self._finish()

    def _finish(self) -> None:
        """Agree on the rank that saw it first; a gradient has the fault of any rank's loss.

        Raises:
            _DoneError: always.
        """
        self.watch.__exit__()
        name, rank = self.watch.name, distributed.rank()
        seen = bits_of(self._losses), lists(self._indices)
        every = distributed.gather_objects(Replay(name, self.watch.looks, rank, *seen))
        self.found = min(every, key=lambda one: (not one.first, one.looks))
        raise _DoneError


def reproduced(found: Replay, facts: dict[str, Any]) -> str:
    """Difference between a replay and what was recorded; empty for none."""
    then = facts["ranks"][found.rank]
    if found.indices != then["indices"]:
        return "other images than then: the data have changed"
    if not found.first:
        return "finite on this machine"
    return "" if found.bits == (then["bits"] or found.bits) else "another loss than then"


def losses(found: Replay) -> list[tuple[float, str]]:
    """Each batch's loss as a number and as its bits."""
    return [(struct.unpack(">f", bytes.fromhex(b))[0], b) for b in found.bits or []]
