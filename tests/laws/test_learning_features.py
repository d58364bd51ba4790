"""The self-supervised methods learn within seconds features that tell digits apart."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from genlab.data import Digits
from genlab.evaluation.feature_quality import features_of
from genlab.evaluation.probes import few_shot
from genlab.methods.byol import BYOL
from genlab.methods.moco import MoCo
from genlab.methods.moco_v3 import MoCoV3
from genlab.methods.rotation import Rotation
from genlab.methods.simclr import SimCLR
from genlab.methods.simsiam import SimSiam
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer

VIEWS: dict[str, Any] = {
    "preset": "simclr", "flip": False, "crop": [0.4, 1.0], "jitter": [0.4, 0.4, 0, 0], "grey": 0,
    "blur": 0,
}  # fmt: skip
OPTIONS: dict[str, Any] = {
    "channels": 1,
    "image_size": 8,
    "encoder": "small_cnn",
    "encoder_kwargs": {"width": 16},
    "projector_dims": [128, 64],
    "optimizer": {"name": "adamw", "lr": 4e-3, "schedule": "cosine", "warmup_steps": 20},
}
PREDICTOR: dict[str, Any] = {"predictor_dims": [128, 64]}
LONG = functools.partial(pytest.param, marks=pytest.mark.slow)
QUEUE: dict[str, Any] = {"queue_size": 512, "symmetric": True, "bn_splits": 4}


@torch.no_grad()
def five_labels_a_class(method: L.LightningModule, data: Digits) -> float:
    """Accuracy of the nearest of ten means of five features, mean over 20 draws of the five."""
    train, val = (features_of(method.eval(), data, split) for split in ("train", "val"))
    assert train is not None
    assert val is not None
    return few_shot(train, val, [5])["fewshot_5_top1"]


@pytest.mark.parametrize(
    ("kind", "options", "epochs", "gain"),
    [  # gains of seeds 0, 1, 2 in brackets, in points
        (SimCLR, {"temperature": 0.2}, 10, 0.06),  # 10.3, 9.9, 9.8
        (MoCo, QUEUE | {"ema_decay": 0.98}, 10, 0.06),  # 8.9, 10.5, 10.2
        (MoCoV3, PREDICTOR | {"temperature": 0.2, "ema_decay": 0.98}, 10, 0.035),  # 5.5, 9.1, 6.1
        LONG(BYOL, PREDICTOR | {"ema_decay": 0.9}, 20, 0.03),  # 5.3, 7.0, 4.5
        LONG(SimSiam, {"predictor_dims": [64, 64]}, 30, 0.04),  # 6.6, 10.5, 6.1
    ],
)
def test_it_learns_digits_without_labels(
    kind: Any, options: dict[str, Any], epochs: int, gain: float, tmp_path: Path
) -> None:
    """Points above the random encoder that it began as, which has about 80 %."""
    torch.manual_seed(0)
    method = kind(**OPTIONS, **options)
    data = Digits(batch_size=64, val_size=300, seed=0, views=VIEWS)
    data.setup()
    before = five_labels_a_class(method, data)
    fit = trainer(
        tmp_path, Reseed(), enable_checkpointing=False, max_epochs=epochs, limit_val_batches=0
    )
    fit.fit(method.train(), datamodule=data)
    assert five_labels_a_class(method, data) > before + gain


@pytest.mark.slow
def test_a_task_that_is_solved_may_teach_nothing(tmp_path: Path) -> None:
    """PT4: turns of digits are told, and the features are no better than the random encoder's."""
    torch.manual_seed(0)
    method = Rotation(**{key: OPTIONS[key] for key in OPTIONS if key != "projector_dims"})
    shifted = {"translate": 1, "padding": "zeros"}
    data = Digits(batch_size=64, val_size=300, seed=0, augment=shifted)
    data.setup()
    before = five_labels_a_class(method, data)
    fit = trainer(tmp_path, Reseed(), enable_checkpointing=False, max_epochs=20)
    fit.fit(method.train(), datamodule=data)
    told = float(fit.callback_metrics["val/task_accuracy"])
    assert told > 0.88  # of seeds 0, 1, 2: 0.918, 0.907, 0.907
    assert five_labels_a_class(method, data) < before + 0.01  # -2.0, -2.1, -1.1 points
