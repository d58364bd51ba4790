"""The callback that stops a training: what it refuses, and what it spares."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from genlab.cluster import signals, slurm
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.safe_requeue import RanksDisagree, SafeRequeue, Stopped


@pytest.fixture
def trainer(tmp_path: Path) -> Iterator[L.Trainer]:
    yield L.Trainer(
        default_root_dir=tmp_path, accelerator="cpu", devices=1, logger=False, max_steps=5,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    signals.let_go()


def test_ranks_with_different_checkpoints_are_an_error_that_is_tried_again(
    trainer: L.Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genlab.distributed.all_reduce_max", lambda _: torch.tensor([40, -30]))
    with pytest.raises(RanksDisagree, match="different steps, 30 and 40") as error:
        SafeRequeue(Checkpoints()).on_train_start(trainer, L.LightningModule())
    wrong_input = (ValueError, RuntimeError, OSError)  # to `genlab.training.endings.early_refusals`
    assert not isinstance(error.value, wrong_input)


class Line(L.LightningModule):
    """One weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        return (batch[0] * self.weight).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize("safe", [False, True])
def test_lightnings_broadcast_of_every_step_is_spared(
    trainer: L.Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, safe: bool
) -> None:
    asked = []
    monkeypatch.setattr(torch.distributed, "broadcast", lambda *_, **__: asked.append(1))
    monkeypatch.setattr(type(trainer), "world_size", 2)
    monkeypatch.setattr(trainer.strategy, "broadcast", lambda value, src=0: value)
    if safe:
        checkpoints = Checkpoints(monitor=None)
        trainer.callbacks += [checkpoints, SafeRequeue(checkpoints)]  # type: ignore[attr-defined]
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1
    )
    try:
        trainer.fit(Line(), DataLoader(TensorDataset(torch.ones(8, 1))))
    finally:
        torch.distributed.destroy_process_group()
    assert trainer.global_step == 5
    assert len(asked) == (0 if safe else 5)  # else Lightning has changed, and this is no use


class Warn(L.Callback):
    """Sends SIGUSR1 during the first step."""

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)


def test_a_checkpoint_written_at_the_stop_forgets_slow_starts(
    trainer: L.Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures, checkpoints = tmp_path / "failures", Checkpoints(monitor=None)
    failures.write_text("slow\n")
    monkeypatch.setenv("GENLAB_FAILURES", str(failures))
    slurm._progressed.clear()
    trainer.callbacks += [checkpoints, Warn(), SafeRequeue(checkpoints)]  # type: ignore[attr-defined]
    with pytest.raises(Stopped, match="SIGUSR1 at step 1"):
        trainer.fit(Line(), DataLoader(TensorDataset(torch.ones(8, 1))))
    assert checkpoints.newest is not None
    assert not failures.exists()
