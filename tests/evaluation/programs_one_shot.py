"""One-shot error of validation on one process and on several."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from genlab.callbacks import OneShot
from genlab.data import Omniglot
from tests.callbacks.tiny import trainer
from tests.methods.programs_ssl import small


def validated(rank: int, world: int, root: str) -> float:
    """``val/one_shot_error`` of an untrained encoder; 40 images in odd shares."""
    options: dict[str, Any] = {}
    if world > 1:
        os.environ |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "NODE_RANK": "0"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
        options |= {"strategy": "ddp", "devices": world}
    data = Omniglot(root=root, val_alphabets=1, image_size=8, eval_batch_size=14, centred=False)
    with tempfile.TemporaryDirectory() as folder:
        run = trainer(Path(folder), OneShot(), **options)
        run.validate(small("simclr"), datamodule=data, verbose=False)
    return float(run.callback_metrics["val/one_shot_error"])
