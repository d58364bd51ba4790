"""Four corrections to Lightning's book-keeping, without which some runs do not resume exactly."""

from __future__ import annotations

from typing import Any

import lightning as L

from genlab.internals import lightning_loops, lightning_parts, lightning_state


class ExactResume(L.Callback):
    """Restore the position of the training loaders and the trainer's epoch from a checkpoint.

    Differences from Lightning 2.6:

    - When something asked for ``estimated_stepping_batches`` in ``configure_optimizers`` (schedules
      do), the loaders are built before the checkpoint is restored and never get their states.
    - When a fit ends in mid-epoch (``max_steps``, a stop signal) it counts that epoch as done. A
      checkpoint written afterwards says "epoch e + 1, batch p" of what is epoch e.
    - When ``max_steps`` is given and the checkpoint was written after an epoch's last hook began,
      it takes the finished epoch's batch count for the next epoch's, which it then skips.
    - From such a checkpoint, if validation is due, it counts a step that nobody took: all that is
      logged later stands one step too far.

    `Images` adds it to its trainer by itself.
    """

    def __init__(self) -> None:
        self._logged_step: int | None = None  # to be set at the first batch

    @classmethod
    def join(cls, trainer: Any) -> None:
        """Add it to a trainer that has none yet."""
        if trainer is not None and not any(isinstance(c, cls) for c in trainer.callbacks):
            lightning_parts.add_first(trainer, cls())

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Make the epoch counters agree with where the loader was."""
        states = lightning_state.loader_states(checkpoint)
        if not states:
            return
        epochs, batches = lightning_state.epoch_counters(checkpoint)
        ended = 0 <= trainer.max_steps <= checkpoint["global_step"]  # nothing goes on
        if epochs["current"]["processed"] == states[0]["epoch"] + 1 and not ended:
            self._logged_step = lightning_state.logged_step(checkpoint)
            _correct(epochs, batches)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Load the states that are still waiting; the first batch has not been asked for yet."""
        lightning_state.load_waiting_loader_states(trainer)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count the steps that were taken."""
        if self._logged_step is not None:
            lightning_loops.set_logged_step(trainer, self._logged_step)
        self._logged_step = None


def _correct(epochs: dict[str, Any], batches: dict[str, Any]) -> None:
    """The counters of an epoch that Lightning counts as done, as they should have been written."""
    if batches["is_last_batch"]:  # it is done: the next one starts at its first batch
        batches["current"] = dict.fromkeys(batches["current"], 0)
        batches["is_last_batch"] = False
        for counter in (epochs["current"], epochs["total"]):
            counter["completed"] = counter["processed"]
    elif batches["current"]["ready"]:  # it stopped half-way: go on within it
        for counter in (epochs["current"], epochs["total"]):
            counter["processed"] -= 1
            counter["completed"] = min(counter["completed"], counter["processed"])
