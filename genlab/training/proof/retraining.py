"""Steps of a finished run, trained again from one of its states, in another folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Timer

from genlab import recipes
from genlab.checkpoints import read, state
from genlab.internals import lightning_loops, lightning_parts
from genlab.training import continuing
from genlab.training.engine.boundary import AtBoundary
from genlab.training.engine.changed_optimizers import COUNTER, optimizers_of
from genlab.training.engine.links import Links
from genlab.training.engine.progress import ProgressReport
from genlab.training.engine.safe_requeue import SafeRequeue
from genlab.training.tracking.csv_log import CSVLog

if TYPE_CHECKING:
    from genlab.training.building import Lab

SHORT = {"devices": 1, "num_nodes": 1}
RATES = ("lr", "peak_lr", "initial_lr")


@dataclass
class Part:
    """Steps of a run to train again.

    Attributes:
        start: step of the first state.
        link: file of that state; None for the initialisation that follows from the seed.
        window: steps behind which the state is hashed, before any validation; 0 for nowhere.
        end: step of the state at which to stop; 0 for the window's.
        close: file of that state, for a comparison of weights.
        last: True if training ended there.
    """

    start: int
    link: Path | None
    window: int = 0
    end: int = 0
    close: Path | None = None
    last: bool = False


@dataclass
class Seen:
    """States that training has come to.

    Attributes:
        first: hash of the initialisation; empty where training began at a link.
        later: hash of the state behind the window.
        last: hash of the state at the end of the part.
        option: name of an option of the optimiser that is not the recipe's, with both values.
        tensor: first value in which the last state is not that of the file it should be.
        share: distance of the weights from that file's, as a share of the way from the start.
        steps: optimiser steps that were trained.
    """

    first: str = ""
    later: str = ""
    last: str = ""
    option: str = ""
    tensor: str = ""
    share: float | None = None
    steps: int = field(default=0)


class _DoneError(Exception):
    """The part has been trained."""


class Watch(AtBoundary):
    """Hashes states of a part and ends its training.

    Args:
        part: the steps.
    """

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part, self.seen = part, Seen()
        self.stops = False  # at the end of the part, as a clock did
        self._before: dict[str, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if self.part.link is None:
            self.seen.first = state.digest(lightning_loops.checkpoint_at(trainer, None))
        else:
            self.seen.option = _foreign_option(trainer, pl_module)
        if self.part.close is not None:
            found = lightning_loops.checkpoint_at(trainer, None)["state_dict"]
            self._before = {"state_dict": {k: _copy(v) for k, v in found.items()}}

    def on_step(self, trainer: L.Trainer, step: int) -> None:
        """Hash the state behind the window."""
        self.seen.steps = step - self.part.start
        if self.part.window and self.seen.steps == self.part.window:
            self.seen.later = state.digest(lightning_loops.checkpoint_at(trainer, None))
            if self.part.end == 0:
                raise _DoneError
        if self.part.last and step == self.part.end and self.stops:
            trainer.should_stop = True
        elif self.part.last and step > self.part.end:
            raise _DoneError  # where the run ended

    def at_boundary(self, trainer: L.Trainer, step: int) -> None:
        """Hash the state at the end of the part, and compare it with the file."""
        if step == self.part.end and not self.part.last:
            self._finish(trainer)
            raise _DoneError

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step == self.part.end:
            self._finish(trainer)

    def _finish(self, trainer: L.Trainer) -> None:
        content = lightning_loops.checkpoint_at(trainer, None)
        self.seen.last = state.digest(content)
        if self.part.close is not None:
            self._compare(content, read(self.part.close))

    def _compare(self, content: dict[str, Any], file: dict[str, Any]) -> None:
        self.seen.tensor = state.first_difference(content, file)
        way = state.distance(file, self._before)
        self.seen.share = state.distance(content, file) / way if way else None


def train_again(run: Path, part: Part, folder: Path, table: Path | None = None) -> Seen:
    """Train a part of a run with the run's recipe; nothing is written into the run.

    Args:
        run: directory of the run.
        part: the steps.
        folder: place for checkpoints and images of this training.
        table: file to write metrics to, as metrics.csv.
    """
    lab = lab_of(run, part.link, folder)
    watch = Watch(part)
    callbacks: list[L.Callback] = lab.trainer.callbacks  # type: ignore[attr-defined]
    lab.checkpoints.after_selection = [watch.after_selection]
    watch.stops = any(isinstance(c, Timer) for c in callbacks)
    quiet = [c for c in callbacks if not isinstance(c, ProgressReport | SafeRequeue | Timer)]
    callbacks[:] = [watch if isinstance(c, Links) else c for c in quiet]
    lightning_parts.set_loggers(lab.trainer, [CSVLog(table)] if table else [])
    given: Any = {"ckpt_path": part.link, "weights_only": True} if part.link else {}
    try:
        lab.trainer.fit(lab.model, datamodule=lab.data, **given)
    except _DoneError:
        return watch.seen
    if lightning_parts.was_interrupted(lab.trainer):
        raise KeyboardInterrupt
    return watch.seen


def lab_of(run: Path, checkpoint: Path | None, folder: Path) -> Lab:
    """A run's recipe built again on one device, to write into another folder.

    Args:
        run: directory of the run.
        checkpoint: file that weights are to come from; None for the initialisation.
        folder: place to write to.
    """
    from genlab.training.building import build

    recipe = recipes.of_run(run)
    recipes.check_keys(recipe)
    recipe.config.setdefault("trainer", {}).update(SHORT)
    if checkpoint is not None:
        continuing.take_from(read(checkpoint), recipe)
    return build(recipe, folder)


def _foreign_option(trainer: L.Trainer, method: L.LightningModule) -> str:
    """An option of a restored optimiser that the recipe does not give; empty if there is none.

    Rates that a schedule or a callback sets are compared by their peaks.
    """
    fresh = optimizers_of(method.configure_optimizers())
    names = {type(c).__name__ for c in trainer.callbacks}  # type: ignore[attr-defined]
    free = {"params", COUNTER} | ({*RATES} if "ReduceOnPlateau" in names else set())
    free |= {"lr"} if trainer.lr_scheduler_configs else set()
    if "onecycle" in repr(dict(method.hparams)):
        free |= {"momentum", "betas"}
    for now, new in zip(trainer.optimizers, fresh, strict=True):
        for mine, given in zip(now.param_groups, new.param_groups, strict=True):
            moved = free | ({"lr"} if "peak_lr" in given else set())
            for key in sorted(given.keys() - moved):
                if repr(mine.get(key)) != repr(given[key]):
                    return f"{key} is {mine.get(key)}, the recipe's {given[key]}"
    return ""


def _copy(value: Any) -> Any:
    return value.detach().cpu().clone() if isinstance(value, torch.Tensor) else value
