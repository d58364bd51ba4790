"""Private and undocumented parts of Lightning's state, in checkpoints and of an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genlab.internals import missing

if TYPE_CHECKING:
    import lightning as L


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


def divide_by_exact_counts() -> None:
    """Let the means that ``self.log(..., sync_dist=True)`` takes over ranks be those of all images.

    Lightning averages the ranks' numbers of images as whole numbers and drops the remainder: a mean
    over 43 images came out as 43/42 of itself on two processes.
    """
    from lightning.pytorch.trainer.connectors.logger_connector.result import _ResultMetric

    kind: Any = _ResultMetric
    kind.compute = _mean_of_all


def _mean_of_all(result: Any) -> Any:
    """``_ResultMetric.compute`` with counts that have fractions."""
    if not result.is_tensor:
        return result.value.compute()
    value = result.meta.sync(result.value.clone())  # in place
    if not result.meta.is_mean_reduction:
        return value
    return value / result.meta.sync(result.cumulated_batch_size.to(value.dtype, copy=True))


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
