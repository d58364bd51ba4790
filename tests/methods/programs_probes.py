"""Programs for the comparison of one process with two: whole runs of the trainer, DDP on gloo."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import lightning as L
import torch

from genlab.data import Digits
from genlab.methods.knn import KNN
from genlab.methods.linear import LinearProbe
from tests.callbacks.tiny import trainer


def _fit_and_test(method: L.LightningModule, rank: int, world: int) -> dict[str, Any]:
    """Figures, the method's state, and the encoder's before training; odd sizes everywhere."""
    data = Digits(batch_size=64, val_size=201, limit=701, eval_batch_size=100, seed=3)
    before = {k: v.clone() for k, v in method.state_dict().items() if k.startswith("encoder.")}
    options: dict[str, Any] = {"max_epochs": 2}
    if world > 1:
        os.environ |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "NODE_RANK": "0"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
        options |= {"strategy": "ddp", "devices": world}
    with tempfile.TemporaryDirectory() as folder:
        fit = trainer(Path(folder), enable_checkpointing=False, **options)
        fit.fit(method, datamodule=data)
        found = {k: v for k, v in fit.callback_metrics.items() if not k.startswith("train")}
        fit.test(method, datamodule=data, verbose=False)
        found |= fit.callback_metrics
    state = method.state_dict()
    for name, value in before.items():
        assert torch.equal(state[name], value), f"the probe changed {name}"
    return {"figures": found, "state": state}


def _options() -> dict[str, Any]:
    torch.manual_seed(1)
    return {"channels": 1, "image_size": 8, "encoder": "small_cnn", "encoder_kwargs": {"width": 4}}


def probes(rank: int, world: int) -> dict[str, Any]:
    """The linear probe, the same with features computed once, and kNN."""
    sgd = {"name": "sgd", "lr": 1.0, "momentum": 0.9}
    linear = LinearProbe(**_options(), optimizer=sgd)
    precomputed = LinearProbe(**_options(), optimizer=sgd, precompute=True)
    methods = {"linear": linear, "precomputed": precomputed, "knn": KNN(**_options(), k=7)}
    return {name: _fit_and_test(method, rank, world) for name, method in methods.items()}
