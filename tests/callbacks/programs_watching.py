"""What watches self-supervised training, on one process and on two."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from genlab.callbacks import (
    CollapseAlarm,
    EmbeddingRanks,
    OnlineKNN,
    OnlineProbe,
    RetrievalPictures,
)
from genlab.data import Digits
from genlab.evaluation.retrieval import Found
from tests.callbacks.tiny import trainer
from tests.methods.programs_ssl import VIT, small


def digits(**options: Any) -> Digits:
    """320 training images in 10 batches with two views, 101 of validation."""
    usual: dict[str, Any] = {"batch_size": 32, "limit": 320, "val_size": 101, "views": "simclr"}
    return Digits(**usual | options)


class Kept(RetrievalPictures):
    """Keeps what it draws."""

    last: Found

    def _search(self, *given: Any) -> None:
        super()._search(*given)
        assert self._found is not None
        self.last = self._found


def watched(rank: int, world: int) -> dict[str, Any]:
    """Figures of the last validation and the probe, after an epoch; no batch norm."""
    data = digits(batch_size=64, eval_batch_size=40)
    method = small("simclr", VIT, projector_norm="layer", optimizer={"name": "sgd", "lr": 0.1})
    options: dict[str, Any] = {"max_epochs": 2, "enable_checkpointing": False}
    if world > 1:
        os.environ |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "NODE_RANK": "0"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
        options |= {"strategy": "ddp", "devices": world}
    probe = OnlineProbe()
    with tempfile.TemporaryDirectory() as folder:
        ranks, near, alone = EmbeddingRanks(images=31, views=3), Kept(), Kept(bank=96)
        knn = OnlineKNN(bank=97)
        watchers = alone, CollapseAlarm(), ranks, probe, knn, near  # `alone` comes before kNN
        run = trainer(Path(folder), *watchers, **options)
        run.fit(method, datamodule=data)
    assert probe.probe is not None
    figures = {k: v for k, v in run.callback_metrics.items() if k.startswith("val/")}
    found = {"near": near.last.position, "alone": alone.last.position}
    return {"figures": figures, "probe": dict(probe.probe.state_dict())} | found
