"""Private and undocumented parts of Lightning's loops: their counters, and one step of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from genlab.internals import lightning_state, missing

if TYPE_CHECKING:
    import lightning as L
    import torch

SIGTERM_BROADCAST = "_broadcast_sigterm_tensor"


def batches_of_epoch(trainer: L.Trainer) -> int:
    """Training batches begun in this epoch; Lightning's index counts from 0."""
    return int(trainer.fit_loop.epoch_loop.batch_idx) + 1


def batches_of_run(trainer: L.Trainer) -> int:
    """Training batches begun in this run."""
    return int(trainer.fit_loop.total_batch_idx) + 1


def batches_per_validation(trainer: L.Trainer) -> float:
    """Training batches from one validation to the next; infinite for once an epoch at its end.

    The fit loop computes it from ``val_check_interval`` and writes it on the trainer.
    """
    return float(trainer.val_check_batch or 0)


def set_logged_step(trainer: L.Trainer, step: int) -> None:
    """Let what is logged next stand at ``step``, counted from 0.

    Lightning counts batches that stepped, and to a GAN some of them are the critic's.

    Raises:
        InputError: another version's loop has no such counter.
    """
    loop = trainer.fit_loop.epoch_loop
    if not hasattr(loop, "_batches_that_stepped"):
        raise missing("lightning", "_batches_that_stepped")
    loop._batches_that_stepped = step


def step_uncounted(
    trainer: L.Trainer,
    optimizer: torch.optim.Optimizer,
    closure: Callable[[], Any],
    method: L.LightningModule,
) -> None:
    """An optimiser step through the precision plugin that does not move ``global_step``.

    ``LightningOptimizer.step`` counts; a critic's steps must not.
    """
    trainer.strategy.optimizer_step(optimizer, closure, model=method)


def spare_sigterm_broadcast(trainer: L.Trainer) -> None:
    """Keep Lightning from broadcasting at every step whether SIGTERM has come.

    Each time it waits for the device. Another version may do without: then nothing is to be done.
    """
    loop = trainer.fit_loop.epoch_loop
    if hasattr(loop, SIGTERM_BROADCAST):
        setattr(loop, SIGTERM_BROADCAST, _nothing)


def _nothing() -> None:
    pass


def around_steps(trainer: L.Trainer, around: Callable[[Callable[[], Any], Any], Any]) -> None:
    """Let ``around(run, batch)`` call what computes a batch's loss, gradient and update.

    Its result is what callbacks get as the batch's outputs. Lightning has hooks before and after a
    batch, none around its step.
    """
    loop = trainer.fit_loop.epoch_loop
    automatic, manual = loop.automatic_optimization, loop.manual_optimization
    step, own_step = automatic.run, manual.run

    def run(optimizer: Any, index: int, given: Any) -> Any:
        return around(lambda: step(optimizer, index, given), given.get("batch"))

    automatic.run = run  # type: ignore[assignment, method-assign]
    manual.run = lambda given: around(lambda: own_step(given), given.get("batch"))  # type: ignore[assignment, method-assign]


def after_gradients(
    trainer: L.Trainer, check: Callable[[torch.optim.Optimizer, Any], None]
) -> None:
    """Let ``check(optimizer, norm)`` see every gradient that is whole, unscaled and clipped.

    An optimiser's arithmetic follows. Lightning's hook of that place comes before the clipping. The
    norm is that by which the gradient was clipped, None without clipping.
    """
    from lightning.pytorch.plugins.precision import Precision
    from torch.nn.utils import clip_grad_norm_

    plugin, norms = trainer.precision_plugin, list[Any]()
    before = plugin._after_closure

    def clip(optimizer: Any, clip_val: float) -> None:
        norms.append(clip_grad_norm_(list(plugin.main_params(optimizer)), clip_val))

    def after(method: Any, optimizer: Any) -> None:
        norms.clear()
        before(method, optimizer)
        check(optimizer, norms[0] if norms else None)

    plugin._after_closure = after  # type: ignore[method-assign, assignment]
    if type(plugin).clip_grad_by_norm is Precision.clip_grad_by_norm:
        plugin.clip_grad_by_norm = clip  # type: ignore[method-assign]


def pass_over_steps(trainer: L.Trainer, count: int) -> None:
    """Let the next ``count`` steps of optimisers do nothing: no gradient, no arithmetic."""
    strategy, left = trainer.strategy, [count]
    step = strategy.optimizer_step

    def passed(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        return None if left[0] >= 0 else step(*args, **kwargs)

    strategy.optimizer_step = passed  # type: ignore[method-assign]


def stop_where_stopped(trainer: L.Trainer, checkpoint: dict[str, Any]) -> None:
    """Train no batch after a checkpoint, but end the epoch in whose middle it was written.

    Lightning keeps no request to stop in a checkpoint.
    """
    loop = trainer.fit_loop
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
    if epochs["completed"] == epochs["ready"]:
        trainer.should_stop = True
        return
    begin = loop.on_advance_start

    def begin_and_stop() -> None:
        loop.on_advance_start = begin  # type: ignore[method-assign]
        begin()
        loop.epoch_loop._batches_that_stepped += 1  # else it does so behind the validation
        trainer.should_stop = True

    loop.on_advance_start = begin_and_stop  # type: ignore[method-assign]


def hold_schedulers(trainer: L.Trainer, held: Callable[[], bool]) -> None:
    """Let Lightning's schedulers that go by steps stand still where ``held()`` is true."""
    loop = trainer.fit_loop.epoch_loop
    update = loop.update_lr_schedulers

    def guarded(interval: str, update_plateau_schedulers: bool) -> None:
        if interval != "step" or not held():
            update(interval, update_plateau_schedulers)

    loop.update_lr_schedulers = guarded  # type: ignore[method-assign]


def accumulates(trainer: L.Trainer) -> bool:
    """True if no optimiser step follows the batch under way."""
    method = trainer.lightning_module
    return method.automatic_optimization and trainer.fit_loop._should_accumulate()


class Position(NamedTuple):
    """Place of a batch that has begun and of which nothing is computed yet."""

    epoch: int
    batch: int  # of the epoch, from 0
    batches: int  # of the run, before this one
    step: int  # optimiser steps done
    logged: int  # where Lightning's own figures stand


def position(trainer: L.Trainer) -> Position:
    """Place of the batch under way."""
    loop = trainer.fit_loop.epoch_loop
    logged = getattr(loop, "_batches_that_stepped", trainer.global_step)
    where = trainer.current_epoch, loop.batch_idx, loop.total_batch_idx
    return Position(*where, trainer.global_step, logged)


def uncount_step(trainer: L.Trainer) -> None:
    """Count an optimiser step that is given up in its middle as one that has not begun."""
    loop = trainer.fit_loop.epoch_loop
    automatic = loop.automatic_optimization.optim_progress.optimizer.step
    manual = loop.manual_optimization.optim_step_progress
    progress = automatic if trainer.lightning_module.automatic_optimization else manual
    for counter in (progress.total, progress.current):
        counter.ready = counter.completed
    loop._batches_that_stepped -= 1  # Lightning is about to count this batch


def checkpoint_at(trainer: L.Trainer, at: Position | None) -> dict[str, Any]:
    """A checkpoint with the present tensors that continues at a batch of this fit.

    Args:
        trainer: in the middle of a batch.
        at: the first batch to run; None for the one that follows.

    Raises:
        InputError: another version's trainer has no such method.
    """
    connector = trainer._checkpoint_connector
    if not hasattr(connector, "dump_checkpoint"):
        raise missing("lightning", "dump_checkpoint")
    checkpoint: dict[str, Any] = connector.dump_checkpoint(weights_only=False)
    if at is not None:
        _turn_back(checkpoint, at)
    return checkpoint


def _turn_back(checkpoint: dict[str, Any], at: Position) -> None:
    """Counters as a checkpoint has them that was written before a batch began."""
    checkpoint |= {"epoch": at.epoch, "global_step": at.step}
    for state in lightning_state.loader_states(checkpoint):
        if "position" in state:
            state |= {"epoch": at.epoch, "position": at.batch}
    epochs, batches = lightning_state.epoch_counters(checkpoint)
    inside = int(at.batch > 0)  # the epoch has begun
    for counter in (epochs["current"], epochs["total"]):
        counter |= dict.fromkeys(("ready", "started"), at.epoch + inside)
        counter |= dict.fromkeys(("processed", "completed"), at.epoch)
    for counter, done in ((batches["current"], at.batch), (batches["total"], at.batches)):
        counter |= dict.fromkeys(("ready", "started", "processed"), done)
        counter["completed"] = done - inside  # as it is until the batch's last hook has run
    batches["is_last_batch"] = False
    loop = checkpoint["loops"]["fit_loop"]
    loop["epoch_loop.state_dict"]["_batches_that_stepped"] = at.logged - inside
    steps = (
        loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"],
        loop["epoch_loop.manual_optimization.optim_step_progress"],
    )
    for progress in steps:
        surplus = max(0, progress["total"]["completed"] - at.step)
        for counter in (progress["total"], progress["current"]):
            counter["completed"] = max(0, counter["completed"] - surplus)
            counter["ready"] = counter["completed"]
