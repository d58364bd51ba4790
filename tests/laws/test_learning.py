"""The autoencoders learn the digits within seconds, by far more than a model without a code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from genlab.data import Digits
from genlab.losses import bernoulli_nll
from genlab.methods.autoencoder import Autoencoder
from genlab.methods.cvae import CVAE
from genlab.methods.vae import VAE
from tests.callbacks.tiny import trainer

OPTIONS: dict[str, Any] = {
    "channels": 1,
    "image_size": 8,
    "latent_dim": 8,
    "hidden_dims": [128],
    "activation": "gelu",
    "optimizer": {"lr": 3e-3, "schedule": "cosine", "warmup_steps": 20},
}


def digits(split: str) -> torch.Tensor:
    """Grey images of a split, (N, 1, 8, 8) in [0, 1]."""
    data = Digits()
    data.setup()
    source, rows = data._parts[split]
    (batch,) = source.read([rows])
    return torch.as_tensor(batch["image"]).float() / 255


def test_a_model_without_a_code_pays_more_than_27_nats() -> None:
    """The mean training image is the best that an encoder that says nothing allows."""
    mean = digits("train").mean(0, keepdim=True).clamp(1e-4, 1 - 1e-4)
    images = digits("val")
    assert bernoulli_nll(mean.logit().expand_as(images), images).mean() > 27


@pytest.mark.parametrize(
    ("kind", "prior", "cost"),
    [  # val/loss of seeds 0 and 1 in brackets
        (VAE, None, 25.4),  # 24.9, 24.9
        (CVAE, "standard", 22.1),  # 21.6, 21.6
        (CVAE, "learned", 22.1),  # 21.6, 21.6
        (CVAE, "class_mean", 23.8),  # 23.0, 22.7
        (Autoencoder, None, 18.3),  # 17.6, 17.2
    ],
)
def test_it_learns_digits(
    kind: type[L.LightningModule], prior: str | None, cost: float, tmp_path: Path
) -> None:
    method = kind(**OPTIONS, **({"prior": prior} if prior else {}))
    data = Digits(batch_size=64, seed=0)
    fit = trainer(tmp_path, enable_checkpointing=False, max_epochs=30, log_every_n_steps=10)
    fit.fit(method, datamodule=data)
    assert fit.callback_metrics["val/loss"] < cost
