"""Every private part of Lightning's logger for MLflow that genlab reaches for is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from lightning.pytorch.loggers import MLFlowLogger

from genlab.internals import mlflow_parts as parts


def test_continue_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="genlab[loggers] is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # MLflow sets it; here it goes again

    def logger(value: str) -> MLFlowLogger:
        return MLFlowLogger("x", save_dir=str(tmp_path), tags={"mine": value})

    first, again, other = logger("a"), logger("a"), logger("b")
    assert not parts.continue_run(first, "mine", "a")
    assert first.run_id
    first.finalize("failed")
    assert parts.continue_run(again, "mine", "a")
    assert again.run_id == first.run_id
    assert again.experiment.get_run(first.run_id).info.status == "RUNNING"
    assert not parts.continue_run(other, "mine", "b")
    assert other.run_id != first.run_id
