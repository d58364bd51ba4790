"""Images of a pretext task during training: input, target and output."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import lightning as L
from torch import Tensor

from genlab.callbacks._first_images import first_images
from genlab.contracts import Batch, ShowsTask
from genlab.drawing.columns import titled
from genlab.drawing.may_fail import may_fail
from genlab.networks.modes import still
from genlab.training.tracking.shown import publish, run_name

SCORES = ("task_accuracy", "psnr", "explained", "loss")  # the first that a method logs


@runtime_checkable
class AnswersTask(Protocol):
    """A method whose task has an answer that can be right or wrong."""

    def task_answers(self, batch: Batch) -> list[tuple[str, str]]:
        """The right and the given answer to each image of ``task_pictures`` as texts."""


@runtime_checkable
class HidesBox(Protocol):
    """A method whose task is to fill a rectangle."""

    def task_boxes(self, batch: Batch) -> Tensor:
        """Top, left, height and width of each, (B, 4)."""


class TaskPictures(L.Callback):
    """``pictures/task-*.png``: a row for each image, its input, target and output side by side.

    The title has the recipe, the step and the task's score in the last validation. The output has a
    blue frame where the answer is right and an orange one where it is wrong, for methods with
    ``task_answers``; what was filled is outlined, for those with ``task_boxes``. Drawn after the
    validation of every ``every_n_epochs``-th epoch and at the end of training, for methods with
    ``task_pictures``; of the same validation images with the same draws.

    Args:
        every_n_epochs: epochs between two images; 0 draws only at the end.
        count: number of rows.

    Raises:
        ValueError: no row.
    """

    def __init__(self, every_n_epochs: int = 0, count: int = 8) -> None:
        if count < 1:
            raise ValueError(f"TaskPictures.count must be at least 1, got {count}")
        self.every_n_epochs, self.count = every_n_epochs, count
        self._drawn_at = -1
        self._batch: Batch | None = None

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if trainer.state.fn == "fit" and self.every_n_epochs and epoch % self.every_n_epochs == 0:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._drawn_at != trainer.global_step:
            self._draw(trainer, pl_module)

    def _draw(self, trainer: L.Trainer, method: Any) -> None:
        self._drawn_at = trainer.global_step
        shows = isinstance(method, ShowsTask) and trainer.is_global_zero
        batch = self._images(trainer, method) if shows else None
        if batch is None:
            return
        with still(method), may_fail("pictures/task"):
            answers = method.task_answers(batch) if isinstance(method, AnswersTask) else ()
            boxes = method.task_boxes(batch) if isinstance(method, HidesBox) else None
            title = f"{run_name(trainer, method)}, step {trainer.global_step:,}{_score(trainer)}"
            drawn = titled(method.task_pictures(batch), title, answers, boxes)
            publish(trainer, "task", drawn, trainer.global_step)

    def _images(self, trainer: L.Trainer, method: L.LightningModule) -> Batch | None:
        """The first validation images; None where there are none."""
        if self._batch is None:
            self._batch = first_images(trainer, method, self.count)
        return self._batch


def _score(trainer: L.Trainer) -> str:
    """The task's score in the last validation, for the title."""
    found = trainer.callback_metrics
    name = next((name for name in SCORES if f"val/{name}" in found), None)
    return "" if name is None else f", val/{name} {float(found[f'val/{name}']):.3f}"
