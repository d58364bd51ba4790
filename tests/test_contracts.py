"""What a method can do is told by its verbs; data by their face."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab import contracts
from genlab.contracts import number_of_classes, takes
from genlab.data import Digits, Toys
from genlab.methods.classifier import Classifier
from genlab.methods.cvae import CVAE
from genlab.methods.nice import NICE
from genlab.methods.simclr import SimCLR
from genlab.methods.vae import VAE
from genlab.methods.wgan_gp import WGANGP

TINY: dict[str, Any] = {"channels": 1, "image_size": 8}
VERBS = (
    "Samples", "SamplesCodes", "Reconstructs", "Interpolates", "DecodesNoise", "SwapsStyles",
    "HasDensity", "Classifies", "HasProbabilities", "Embeds",
)  # fmt: skip


@pytest.mark.parametrize(
    ("method", "able"),
    [
        (VAE(**TINY, hidden_dims=[4]), "Samples Reconstructs Interpolates"),
        (CVAE(**TINY, hidden_dims=[4]), "Samples Reconstructs Interpolates SwapsStyles"),
        (NICE(**TINY, hidden_dims=[4]), "Samples Reconstructs Interpolates HasDensity"),
        (WGANGP(**TINY, generator="mlp", critic="mlp"), "Samples DecodesNoise"),
        (Classifier(**TINY, encoder_kwargs={"width": 4}), "Classifies HasProbabilities"),
        (SimCLR(**TINY, encoder="small_cnn", encoder_kwargs={"width": 4}), "Embeds"),
        (nn.Linear(1, 1), ""),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, nn.Module) else "",
)
def test_methods_can_what_they_have_verbs_for(method: nn.Module, able: str) -> None:
    found = {name for name in VERBS if isinstance(method, getattr(contracts, name))}
    assert found == set(able.split())


def test_data_show_their_face() -> None:
    digits = Digits(batch_size=32)
    for face in (contracts.DataModule, contracts.CountsClasses, contracts.FewLabelled):
        assert isinstance(digits, face)
        assert not isinstance(object(), face)
    assert not isinstance(digits, contracts.KnownDensity)
    assert isinstance(Toys("two_moons"), contracts.KnownDensity)


class Ten:
    """Draws with or without classes."""

    def __init__(self, num_classes: int | None) -> None:
        if num_classes is not None:
            self.num_classes = num_classes

    def sample(self, n: int, label: Tensor | None = None) -> Tensor:
        return torch.zeros(n)


class Unconditional:
    """Has classes to tell apart, not to draw."""

    num_classes = 10

    def sample(self, n: int) -> Tensor:
        return torch.zeros(n)


def test_classes_count_where_samples_can_be_asked_for_by_label() -> None:
    assert [number_of_classes(Ten(k)) for k in (10, 0, None)] == [10, 0, 0]
    assert number_of_classes(Unconditional()) == 0
    assert number_of_classes(Classifier(**TINY, encoder_kwargs={"width": 4})) == 0
    assert takes(Ten(1).sample, "label")
    assert not takes(Ten(1).sample, "temperature")
