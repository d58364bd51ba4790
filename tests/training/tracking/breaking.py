"""Loggers that fail: at their start, or when they are called."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.loggers import Logger


class Breaking(Logger):
    """A logger that fails at its second row, or at its start.

    Args:
        at_start: True to fail at the start.
    """

    def __init__(self, at_start: bool = False) -> None:
        super().__init__()
        if at_start:
            raise ConnectionError("nobody there")
        self.rows: list[dict[str, float]] = []

    @property
    def name(self) -> str:
        return "breaking"

    @property
    def version(self) -> int:
        return 0

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        assert params["model.latent_dim"] == 2  # once, not the method's own from Lightning

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if self.rows:
            raise ConnectionError("the server is gone")
        self.rows.append(metrics)
