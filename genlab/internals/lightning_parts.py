"""Private and undocumented parts of Lightning."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from genlab.internals import missing

if TYPE_CHECKING:
    import lightning as L
    import torch
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
            entry._update_count = 1
        else:
            entry.value = method.get_submodule(kept["metric_attribute"])
        results[key] = entry
    if found:  # as in mid-epoch: the first batch must not take them for an earlier epoch's
        trainer._logger_connector._first_loop_iter = False


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
