"""FID, KID, Inception score, overlap of manifolds: against definitions and torch-fidelity."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from genlab.metrics import (
    FrechetDistance,
    InceptionScore,
    frechet_distance,
    kernel_distance,
    manifold_overlap,
    neighbours,
    polynomial_mmd,
    precision_recall,
)
from tests.conftest import TwoRanks


def sets(n: int = 300, m: int = 300, width: int = 12) -> tuple[Tensor, Tensor]:
    """Two sets that overlap, with correlated features."""
    mix = torch.randn(width, width, dtype=torch.float64) / 2
    fake = torch.randn(n, width, dtype=torch.float64)
    return fake, torch.randn(m, width, dtype=torch.float64) @ mix + 0.3


def fid(fake: Tensor, real: Tensor) -> float:
    metric = FrechetDistance(fake.shape[1])
    metric.update(fake, real=False)
    metric.update(real, real=True)
    return float(metric.compute())


def test_the_distance_of_gaussians_in_closed_form() -> None:
    """Diagonal covariances: sum of (m1 - m2)^2 + (s1 - s2)^2; and of two that do not commute."""
    m1, m2, s1, s2 = torch.rand(4, 7, dtype=torch.float64)
    expected = (m1 - m2).square().sum() + (s1 - s2).square().sum()
    found = frechet_distance(m1, s1.square().diag(), m2, s2.square().diag())
    assert float(found) == pytest.approx(float(expected), abs=1e-12)
    a = torch.tensor([[2.0, 1.0], [1.0, 2.0]])  # tr (ab)^(1/2) = (tr ab + 2 det(ab)^(1/2))^(1/2)
    b = torch.tensor([[1.0, 0.0], [0.0, 4.0]])
    expected = 4 + 5 - 2 * math.sqrt(10 + 2 * math.sqrt(12))
    assert float(frechet_distance(m1[:2], a, m1[:2], b)) == pytest.approx(expected, abs=1e-12)


def test_the_distance_bears_covariances_without_full_rank() -> None:
    flat = torch.diag(torch.tensor([4.0, 0.0, 0.0]))
    zero = torch.zeros(3)
    other = torch.diag(torch.tensor([0.0, 9.0, 0.0]))
    assert float(frechet_distance(zero, flat, zero, other)) == pytest.approx(13, abs=1e-9)
    assert float(frechet_distance(zero, flat, zero, flat)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_a_set_is_at_no_distance_of_itself(shift: float) -> None:
    fake = sets(3000, 10, 200)[0] + shift
    assert fid(fake, fake) < 1e-8
    found = kernel_distance(fake[:, :12], fake[:, :12], subsets=1, size=3000)
    assert found["kid"] <= 0  # unbiased: of the same images it lies a little below 0
    same = manifold_overlap(fake, fake)
    assert [same[noun] for noun in ("precision", "recall", "coverage")] == [1, 1, 1]


def test_fid_is_that_of_torch_fidelity_in_parts_too() -> None:
    fake, real = sets(300, 500)
    statistics = (fid_features_to_statistics(part) for part in (fake, real))
    expected = fid_statistics_to_metric(*statistics, verbose=False)
    assert fid(fake, real) == pytest.approx(expected["frechet_inception_distance"], rel=1e-9)
    metric = FrechetDistance(12)
    for part in fake.split(7):
        metric.update(part, real=False)
    for part in real.split(64):
        metric.update(part, real=True)
    assert float(metric.compute()) == pytest.approx(fid(fake, real), rel=1e-9)
    assert metric.counts.tolist() == [300, 500]
    metric.reset()
    metric.update(real, real=True)
    with pytest.raises(ValueError, match="two images in each set, got 0 and 500"):
        metric.compute()


def test_too_few_images_are_warned_of() -> None:
    fake, real = sets(12, 500)
    with pytest.warns(UserWarning, match="FID of 12 images in 12 dimensions"):
        fid(fake, real)


def test_kid_is_that_of_torch_fidelity() -> None:
    fake, real = sets()
    expected = kid_features_to_metric(fake, real, kid_subsets=1, kid_subset_size=300, verbose=False)
    found = kernel_distance(fake, real, subsets=1)
    assert found["kid"] == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-9)
    assert found["kid_subset_size"] == 300


def test_kid_is_unbiased_and_its_spread_is_told() -> None:
    """The mean over subsets is the value of all, within the error that the spread promises."""
    fake, real = sets(2000, 2000)
    whole = float(polynomial_mmd(fake, real))
    found = kernel_distance(fake, real, subsets=100, size=200)
    assert found["kid"] == pytest.approx(whole, abs=4 * found["kid_sd"] / 10)
    alike = kernel_distance(fake[:1000], fake[1000:], subsets=100, size=200)
    assert abs(alike["kid"]) < whole / 5
    assert kernel_distance(fake, real, 3) != kernel_distance(fake, real, 3, seed=1)
    with pytest.raises(ValueError, match="two images"):
        kernel_distance(fake[:1], real)


def slow_overlap(fake: Tensor, real: Tensor, k: int, density_k: int) -> dict[str, float]:
    """The definitions, one pair at a time."""

    def reach(points: Tensor, k: int) -> list[float]:
        return [sorted(float((p - q).norm()) for q in points)[k] for p in points]

    near, far, fakes = reach(real, k), reach(real, density_k), reach(fake, k)
    d = [[float((f - r).norm()) for r in real] for f in fake]
    n, m = len(fake), len(real)
    return {
        "precision": sum(any(d[i][j] <= near[j] for j in range(m)) for i in range(n)) / n,
        "recall": sum(any(d[i][j] <= fakes[i] for i in range(n)) for j in range(m)) / m,
        "density": sum(d[i][j] <= far[j] for i in range(n) for j in range(m)) / n / density_k,
        "coverage": sum(min(d[i][j] for i in range(n)) <= far[j] for j in range(m)) / m,
    }


def test_overlap_equals_the_definitions(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, real = sets(40, 30, 3)
    found = manifold_overlap(fake, real)
    assert found == pytest.approx(slow_overlap(fake, real, 3, 5))
    assert 0 < found["precision"] < 1
    assert 0 < found["coverage"] < 1
    monkeypatch.setattr(precision_recall, "BLOCK", 100)
    assert manifold_overlap(fake, real) == pytest.approx(found)


def test_precision_and_recall_are_those_of_torch_fidelity() -> None:
    fake, real = sets()
    expected = prc_features_to_metric(fake, real, verbose=False)
    found = manifold_overlap(fake, real)
    for noun in ("precision", "recall"):
        assert found[noun] == pytest.approx(expected[noun])


def test_one_distribution_has_density_one_and_nearly_full_coverage() -> None:
    found = manifold_overlap(torch.randn(2000, 6), torch.randn(2000, 6))
    assert found["density"] == pytest.approx(1, abs=0.1)
    assert found["coverage"] == pytest.approx(1 - 2**-5, abs=0.02)
    with pytest.raises(ValueError, match="k 5 requires more than 5 images"):
        manifold_overlap(torch.randn(50, 6), torch.randn(5, 6))


def test_neighbours_are_the_nearest_in_order_and_exact() -> None:
    bank = torch.randn(200, 4) + 50
    distance, rows = neighbours(bank[:20], bank, 3)
    assert distance[:, 0].tolist() == [0] * 20
    assert rows[:, 0].tolist() == list(range(20))
    expected = torch.cdist(bank[:20].double(), bank.double()).topk(3, largest=False)
    torch.testing.assert_close(distance, expected.values)
    assert torch.equal(rows, expected.indices)


def score(logits: Tensor, splits: int = 10) -> tuple[float, float]:
    metric = InceptionScore(logits.shape[1], splits)
    for part in torch.arange(len(logits)).split(33):
        metric.update(logits[part], part)
    mean, spread = metric.compute().values()
    return float(mean), float(spread)


def test_the_inception_score_has_its_known_ends() -> None:
    sure = 50 * torch.nn.functional.one_hot(torch.arange(500) // 10 % 5, 5).double()
    assert score(sure) == pytest.approx((5, 0))
    assert score(sure[:10].repeat(50, 1)) == pytest.approx((1, 0), abs=1e-9)  # one class only
    assert score(torch.zeros(500, 5)) == pytest.approx((1, 0), abs=1e-9)  # sure of nothing
    with pytest.raises(ValueError, match="10 parts of 4"):
        score(torch.zeros(4, 5))


def test_the_inception_score_is_that_of_torch_fidelity_on_the_same_parts() -> None:
    logits = 3 * torch.randn(500, 7)
    parts = torch.cat([torch.arange(500)[i::10] for i in range(10)])
    expected = isc_features_to_metric(logits[parts], splits=10, shuffle=False)
    assert score(logits) == pytest.approx(tuple(expected.values()), rel=1e-9)


@pytest.mark.ddp
def test_two_ranks_give_the_figures_of_one_process(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.metrics.programs_generated:figures", atol=1e-9)


def test_the_frechet_distance_of_features_that_are_not_finite_is_nan() -> None:
    mean, covariance = torch.zeros(2), torch.eye(2)
    wrong = torch.full((2, 2), torch.nan)
    assert torch.isnan(frechet_distance(mean, covariance, mean, wrong))
