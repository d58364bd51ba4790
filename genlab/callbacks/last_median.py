"""Median of the last N validation results."""

from __future__ import annotations

import statistics
from typing import Any

import lightning as L
import torch


class LastMedian(L.Callback):
    """``val/accuracy_median20``: of the last 20 validations, as FixMatch's authors report.

    ``metrics.json`` has it next to the last value and the selected checkpoint's.

    Args:
        key: logged name of the metric.
        count: number of validations; fewer until that many have run.

    Logs:
        val/accuracy_median20 (fraction, higher): median of val/accuracy over the last 20
            validations.
        val/<metric>_median<count> (that of the metric): median of another metric or number of
            validations.

    Raises:
        ValueError: a count below 1.

    Source: Berthelot et al. 2019 (MixMatch), arXiv:1905.02249, section 4.1, for the test set; here
    for validation images, because the test set is used once.
    """

    def __init__(self, key: str = "val/accuracy", count: int = 20) -> None:
        if count < 1:
            raise ValueError(f"LastMedian.count must be at least 1, got {count}")
        self.key, self.count = key, count
        self.values: list[float] = []

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        value = trainer.callback_metrics.get(self.key)
        if value is None or trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self.values = [*self.values, float(value)][-self.count :]
        name, median = f"{self.key}_median{self.count}", statistics.median(self.values)
        trainer.callback_metrics[name] = torch.tensor(median)
        for logger in trainer.loggers:
            logger.log_metrics({name: median}, trainer.global_step - 1)

    def state_dict(self) -> dict[str, Any]:
        """The last values, with which a continued run goes on."""
        return {"values": self.values}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.values = list(state_dict["values"])
