"""MIG and DCI of features that are the factors, of features that mix them, and of noise."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.data import FactorShapes
from genlab.data.factor_shapes import every_factor
from genlab.evaluation.disentanglement import disentanglement
from genlab.evaluation.feature_quality import representation
from genlab.metrics import Bank


def banks(features: Tensor) -> list[Bank]:
    """A training and a test bank of all images."""
    rows = torch.randperm(6144, generator=torch.Generator().manual_seed(0))
    label = every_factor()[:, 0]
    return [Bank(features[part], label[part], part) for part in (rows[:1500], rows[1500:2200])]


def found(features: Tensor) -> dict[str, float]:
    train, test = banks(features)
    return disentanglement(train, None, test, FactorShapes())


def test_factors_themselves_mixtures_and_noise() -> None:
    factors = every_factor()[:, :2].double()
    noise = torch.randn(6144, 2, generator=torch.Generator().manual_seed(1)).double()
    own = found(torch.cat([every_factor().double(), noise[:, :1]], 1))
    assert own["mig"] > 0.9
    assert own["mig_angle"] > 0.9
    assert min(own["dci_disentanglement"], own["dci_completeness"]) > 0.9
    assert own["dci_informativeness"] > 0.99
    turn = torch.tensor([[0.8, 0.6], [-0.6, 0.8]]).double()
    mixed = found(torch.cat([factors @ turn, noise], 1))
    assert mixed["mig_shape"] < 0.5
    assert mixed["dci_completeness"] < own["dci_completeness"] - 0.2
    lost = found(noise)
    assert lost["mig"] < 0.03
    assert set(lost) == {f"mig_{name}" for name in FactorShapes.factor_names} | {
        "mig",
        "dci_disentanglement",
        "dci_completeness",
        "dci_informativeness",
    }


def test_one_feature_has_none_and_many_have_no_trees() -> None:
    assert found(torch.randn(6144, 1)) == {}
    assert "dci_completeness" not in found(torch.randn(6144, 65))


class OneFactor(FactorShapes):
    factor_names = ("scale",)

    def factors(self, index: Tensor) -> Tensor:
        return super().factors(index)[:, 1:2]


def test_one_factor_has_no_dci() -> None:
    train, test = banks(torch.randn(6144, 2))
    assert set(disentanglement(train, None, test, OneFactor())) == {"mig", "mig_scale"}


class Means(torch.nn.Module):
    """Features: the means of rows and columns of every fourth place."""

    device = torch.device("cpu")

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([image.mean(2), image.mean(3)], 2)[:, 0, ::8]


def test_an_evaluation_prints_them_for_data_with_factors() -> None:
    figures, _, _ = representation(Means(), FactorShapes(limit=800), shots=[])
    assert 0 <= figures["test/mig"] < 1
    assert 0 < figures["test/dci_informativeness"] < 1
