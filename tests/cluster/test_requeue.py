"""The callback that stops a training: what it refuses, and what it spares."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import pytest
import torch

from genlab.callbacks.checkpoints import Checkpoints
from genlab.cluster.requeue import RanksDisagree, SafeRequeue


@pytest.fixture
def trainer(tmp_path: Path) -> L.Trainer:
    return L.Trainer(
        default_root_dir=tmp_path, accelerator="cpu", devices=1, logger=False, max_steps=5,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip


def test_ranks_with_different_checkpoints_are_an_error_that_is_tried_again(
    trainer: L.Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genlab.distributed.all_reduce_max", lambda _: torch.tensor([40, -30]))
    with pytest.raises(RanksDisagree, match="different steps, 30 and 40") as error:
        SafeRequeue(Checkpoints()).on_train_start(trainer, L.LightningModule())
    wrong_input = (ValueError, RuntimeError, OSError)  # to `genlab.cli.stops.early_refusals`
    assert not isinstance(error.value, wrong_input)
