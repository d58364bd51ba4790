"""The final metrics of a training, for all its loggers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L

from genlab.training.tracking.csv_log import CSVLog
from genlab.training.tracking.wandb_run import WandbRun


def conclude(trainer: L.Trainer, final: Mapping[str, Any], former: Mapping[str, Any]) -> None:
    """Hand the metrics of the selected checkpoint to W&B and to other loggers, and close them.

    Args:
        trainer: trainer that has ended.
        final: content of metrics.json; empty on other processes than the first.
        former: its content before.
    """
    best = {k: v for k, v in final.items() if k.startswith("best/") and not isinstance(v, str)}
    for logger in trainer.loggers:
        if isinstance(logger, WandbRun):
            logger.conclude(final, former)
            logger.close()
        elif not isinstance(logger, CSVLog):
            if best:
                logger.log_metrics(best, max(0, trainer.global_step - 1))
            logger.finalize("success")
