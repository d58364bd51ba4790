"""Metrics of an epoch in progress, which are part of every checkpoint."""

from __future__ import annotations

from typing import Any

import lightning as L
from torch import Tensor

from genlab import distributed
from genlab.internals import lightning_state, metric_parts
from genlab.training.tracking.csv_log import CSVLog

KEY = "epoch_metrics"  # of a checkpoint


class EpochMetrics(L.Callback):
    """Saves and restores, with a checkpoint, what training has measured and not yet logged.

    These are the states of the method's torchmetrics (pseudo-labels of an epoch), what steps gave
    to ``self.log`` for the epoch's end, the last value of every logged metric, and the number of
    rows of metrics.csv. Each rank restores its own part; in another number of processes, where only
    the end of an epoch can be continued, an epoch's sums start anew.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn != "fit":
            return
        of_validation = lightning_state.metrics_of_validation(trainer)
        mine = {
            "metrics": metric_parts.states(pl_module, of_validation),
            "results": lightning_state.epoch_results(trainer),
        }
        checkpoint[KEY] = {
            "ranks": distributed.gather_objects(mine),
            "last": {k: v.detach().cpu() for k, v in trainer.callback_metrics.items()},
            "waiting": lightning_state.waiting_row(trainer),
            "rows": sum(log.count for log in trainer.loggers if isinstance(log, CSVLog)),
        }

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._kept = checkpoint.get(KEY, {}) if trainer.state.fn == "fit" else {}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        last: dict[str, Tensor] = self._kept.get("last", {})
        trainer.callback_metrics.update({k: v.to(pl_module.device) for k, v in last.items()})

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        ranks = self._kept.get("ranks", [])
        if len(ranks) == distributed.world_size():
            mine = ranks[distributed.rank()]
            metric_parts.restore(pl_module, mine["metrics"])
            lightning_state.restore_epoch_results(trainer, mine["results"])
        if row := self._kept.get("waiting"):
            for logger in trainer.loggers:
                logger.log_metrics(row["values"] | {"epoch": row["epoch"]}, row["step"])
        self._kept = {}
