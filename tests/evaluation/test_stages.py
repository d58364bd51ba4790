"""Evaluation and the linear probe read inner stages."""

from __future__ import annotations

import pytest
import torch

from genlab.data import Digits
from genlab.evaluation.feature_quality import representation
from genlab.methods.linear import LinearProbe
from genlab.methods.rotation import Rotation
from genlab.methods.vae import VAE
from tests.methods.programs_ssl import CNN


def test_metrics_are_of_the_stages_features() -> None:
    """PT1: the best features of a pretext task are inner ones."""
    method, data = Rotation(**CNN), Digits(batch_size=32, val_size=100, limit=200)
    data.setup()
    last, *_ = representation(method, data, shots=[1])
    inner, bank, _ = representation(method, data, shots=[1], stage=1)
    assert (last["test/feature_dim"], inner["test/feature_dim"]) == (64, 32)
    assert bank.features.shape[1] == 32
    assert inner["test/stage"] == 1
    assert "test/stage" not in last


def test_the_linear_probe_takes_a_stage() -> None:
    """PT1."""
    method = LinearProbe(**CNN, stage=0)
    assert method.head.in_features == 16
    assert method(torch.rand(2, 1, 8, 8)).shape == (2, 16)


def test_a_method_without_an_encoder_is_refused() -> None:
    data = Digits(batch_size=32, val_size=100)
    data.setup()
    with pytest.raises(ValueError, match="VAE has no encoder whose stages can be read"):
        representation(VAE(image_size=8, latent_dim=2, hidden_dims=[4]), data, stage=0)
