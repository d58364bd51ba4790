"""Private and undocumented parts of Lightning."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from genlab.internals import missing

if TYPE_CHECKING:
    import lightning as L
    import torch
    from lightning.pytorch.callbacks import EarlyStopping
    from lightning.pytorch.loggers import Logger
    from lightning.pytorch.profilers import Profiler

T = TypeVar("T")
INSTANTIATOR = "lightning.pytorch.cli.instantiate_module"  # for CLASS.load_from_checkpoint
SIGTERM_BROADCAST = "_broadcast_sigterm_tensor"


# The trainer


def trainer_of(method: L.LightningModule) -> Any:
    """A method's trainer, or None; ``LightningModule.trainer`` raises where there is none."""
    try:
        return method.trainer
    except RuntimeError:
        return None


def set_loggers(trainer: L.Trainer, loggers: list[Logger]) -> None:
    """Give a trainer its loggers late, when the run directory is known.

    ``Trainer(logger=...)`` is documented, the setter is not.
    """
    trainer.loggers = loggers


def set_profiler(trainer: L.Trainer, profiler: Profiler) -> None:
    """Give a trainer that is built another profiler: an attribute, no setting."""
    trainer.profiler = profiler  # type: ignore[attr-defined]


def add_first(trainer: L.Trainer, callback: L.Callback) -> None:
    """Add a callback before all others, of a trainer that is built.

    A data module needs its callback, and a recipe need not name it.
    """
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    callbacks.insert(0, callback)


def add_before(trainer: L.Trainer, callback: L.Callback, other: L.Callback) -> None:
    """Add a callback before another one, of a trainer that is built."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    callbacks.insert(callbacks.index(other), callback)


def drop_hook(callback: L.Callback, name: str) -> None:
    """Let Lightning skip a hook of a callback: it calls only what is ``callable()``."""
    setattr(callback, name, None)


def stop_after_validations(stopper: EarlyStopping) -> None:
    """Let early stopping look at a validation's metric when there is one.

    By default it looks at the end of the epoch, also of one that max_steps ends before its
    validation, and fails.
    """
    if (stopper.monitor or "").startswith("val/") and stopper._check_on_train_epoch_end is None:
        stopper._check_on_train_epoch_end = False


def hook_of_callback(error: BaseException) -> tuple[str, L.Callback] | None:
    """The hook of a callback, and the callback, in which an error was raised; None elsewhere."""
    place = error.__traceback__
    while place is not None:
        if place.tb_frame.f_code.co_name == "_call_callback_hooks":
            names = place.tb_frame.f_locals
            return str(names["hook_name"]), names["callback"]
        place = place.tb_next
    return None


def was_interrupted(trainer: L.Trainer) -> bool:
    """True if Lightning has ended a fit at a KeyboardInterrupt; set by its ``call`` module."""
    return bool(trainer.interrupted)


# Counters of the loops


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


# One step, and the state before it


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
    for state in loader_states(checkpoint):
        if "position" in state:
            state |= {"epoch": at.epoch, "position": at.batch}
    epochs, batches = epoch_counters(checkpoint)
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


# Checkpoints


def load_waiting_loader_states(trainer: L.Trainer) -> None:
    """Load the states of the training loaders that a checkpoint brought, if they still wait.

    Lightning does it where loaders are built; those built before the checkpoint was read (something
    asked for ``estimated_stepping_batches``) never get theirs.

    Raises:
        InputError: another version's loop has no such method.
    """
    loop = trainer.fit_loop
    if not hasattr(loop, "_load_combined_loader_states"):
        raise missing("lightning", "_load_combined_loader_states")
    loop._load_combined_loader_states()


def loader_states(checkpoint: dict[str, Any]) -> list[dict[str, Any]]:
    """The states of the training loaders in a checkpoint; empty for none."""
    loop = checkpoint.get("loops", {}).get("fit_loop", {})
    return list(loop.get("state_dict", {}).get("combined_loader", []))


def epoch_counters(checkpoint: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The progress of a checkpoint's epochs and of its epoch's batches, to be changed in place."""
    loop = checkpoint["loops"]["fit_loop"]
    return loop["epoch_progress"], loop["epoch_loop.batch_progress"]


# Metrics of an epoch in progress

PLAIN = ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "enable_graph",
         "add_dataloader_idx", "dataloader_idx", "metric_attribute")  # fmt: skip


def metrics_of_validation(trainer: L.Trainer) -> list[Any]:
    """The torchmetrics that validation has logged by object; Lightning resets them late."""
    results = trainer.fit_loop.epoch_loop.val_loop._results
    return [result.value for result in results.values() if not result.is_tensor]


def epoch_results(trainer: L.Trainer) -> dict[str, dict[str, Any]]:
    """The sums of ``self.log(..., on_epoch=True)`` in this training epoch, as plain values.

    ``_ResultCollection`` is in no checkpoint of Lightning's.
    """
    results = trainer.fit_loop.epoch_loop._results
    kept = {k: r for k, r in results.items() if r.meta.on_epoch and not r.has_reset}
    return {key: _plain_result(result) for key, result in kept.items()}


def _plain_result(result: Any) -> dict[str, Any]:
    meta, sync = result.meta, result.meta.sync
    sums = {k: v.detach().cpu() for k, v in result.metric_state.items()} if result.is_tensor else {}
    return {name: getattr(meta, name) for name in PLAIN} | {
        "reduce_fx": meta.reduce_fx.__name__,
        "sync": [sync.should, sync.rank_zero_only],
        "sums": sums,
    }


def waiting_row(trainer: L.Trainer) -> dict[str, Any]:
    """The row of ``self.log(..., on_step=True)`` that Lightning writes after this batch's hooks.

    Empty if it writes none, or has written it: then validation has begun.
    """
    loop, connector = trainer.fit_loop.epoch_loop, trainer._logger_connector
    counts: Any = loop.batch_progress.current
    if counts.completed == counts.processed or not connector.should_update_logs:
        return {}
    values = {k: float(v) for k, v in connector.metrics["log"].items()}
    place = {"step": loop._batches_that_stepped, "epoch": trainer.current_epoch}
    return place | {"values": values} if values else {}


def restore_epoch_results(trainer: L.Trainer, found: dict[str, dict[str, Any]]) -> None:
    """Let the training epoch go on with the sums of `epoch_results`."""
    from lightning.pytorch.trainer.connectors.logger_connector import result

    results, method = trainer.fit_loop.epoch_loop._results, trainer.lightning_module
    for key, kept in found.items():
        meta = result._Metadata(**{k: kept[k] for k in PLAIN}, reduce_fx=kept["reduce_fx"])
        should, alone = kept["sync"]
        meta.sync = result._Sync(trainer.strategy.reduce, should, alone)
        entry = result._ResultMetric(meta, is_tensor=bool(kept["sums"])).to(method.device)
        if kept["sums"]:
            for name, value in kept["sums"].items():
                setattr(entry, name, value.to(method.device))
        else:
            entry.value = method.get_submodule(kept["metric_attribute"])
        entry._update_count = 1
        results[key] = entry
    if found:  # as in mid-epoch: the first batch must not take them for an earlier epoch's
        trainer._logger_connector._first_loop_iter = False


def logged_step(checkpoint: dict[str, Any]) -> int | None:
    """The step at which a checkpoint's training would have logged next, see `set_logged_step`."""
    loop = checkpoint["loops"]["fit_loop"].get("epoch_loop.state_dict", {})
    step: int | None = loop.get("_batches_that_stepped")
    return step


# Hyper-parameters


def take_class_path(arguments: dict[str, Any]) -> str | None:
    """Take the class that LightningCLI writes among a method's hyper-parameters out of them."""
    arguments.pop("_instantiator", None)
    return arguments.pop("_class_path", None)


def constructing(arguments: dict[str, Any]) -> AbstractContextManager[None]:
    """Arguments that ``save_hyperparameters`` keeps, with the class, of what is built meanwhile.

    Lightning's own command line does so (``_given_hyperparameters_context``, 2.6.0 to 2.6.6):
    ``CLASS.load_from_checkpoint`` then finds the class and the recipe's plain values. A Lightning
    without it keeps the constructor's arguments, which are the same but for objects.

    Args:
        arguments: names and plain values, ``_class_path`` among them.
    """
    from lightning.pytorch.core.mixins import hparams_mixin

    given = getattr(hparams_mixin, "_given_hyperparameters_context", None)
    return nullcontext() if given is None else given(arguments, INSTANTIATOR)


def outside_cli(function: Callable[..., T], *args: Any) -> T:
    """Call a function that builds a method while LightningCLI constructs another.

    LightningCLI keeps the hyper-parameters of what it constructs in a context variable, and every
    method built meanwhile takes them for its own: here the context is empty.
    """
    return contextvars.Context().run(function, *args)


def global_seed() -> int:
    """The seed that ``seed_everything`` has left in the environment; 0 without."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))
