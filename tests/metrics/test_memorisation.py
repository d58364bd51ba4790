"""Memorisation: copies are caught by each of the three statistics, fresh samples by none."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genlab import metrics
from genlab.evaluation.neighbours import nearest_training
from genlab.metrics import authentic_share, copying_score, memorisation, neighbours
from genlab.metrics.memorisation import principal_axes, rank_score
from tests.networks.flows.golden import first, second


def normals(*sizes: int, width: int = 16, seed: int = 0) -> list[Tensor]:
    """Sets of one normal distribution."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, width, generator=generator) for size in sizes]


def test_authenticity_of_the_reference_code() -> None:
    """dgm-eval gives 40 % for these sets; fls prints -10, the same minus 50."""
    assert authentic_share(second(5, 3), first(8, 3)) == 0.4


def test_a_training_image_that_stands_twice_hides_no_copy() -> None:
    train, fresh = normals(500, 400)
    copies = train[:400] + 1e-3
    assert authentic_share(copies, train) == 0
    assert authentic_share(copies, torch.cat([train, train])) == 0
    for times in (4, 8, 9, 40):
        assert authentic_share(copies, torch.cat([train] * times)) == 0
    assert authentic_share(copies, torch.cat([train, train[:1].repeat(100, 1)])) == 0
    assert 0.6 < authentic_share(fresh, train) < 0.8  # not 0.5


def test_authenticity_of_a_slow_loop() -> None:
    train, fake = normals(40, 30, width=3)
    count = 0
    for sample in fake.double():
        near = (train.double() - sample).norm(dim=1)
        own = train.double()[near.argmin()]
        count += int(near.min() > (train.double() - own).norm(dim=1).sort().values[1])
    assert authentic_share(fake, train) == count / 30


def test_the_standard_score_of_the_reference_code() -> None:
    """All six generated distances lie below the five of the test: U is 0."""
    train = first(8, 3)
    near = [
        neighbours(points, train, 1)[0][:, 0]
        for points in (second(5, 3), 0.7 * first(6, 3) + 0.1 * second(6, 3))
    ]
    assert rank_score(*near) == pytest.approx(-2.6473256946, abs=1e-10)
    assert rank_score(near[1], near[0]) == pytest.approx(15.5 / math.sqrt(30))


def test_ties_count_half() -> None:
    x = torch.tensor([1.0, 2.0, 2.0])
    expected = (4 + 0.5 * 2 - (4.5 - 0.5)) / math.sqrt(9 * 7 / 12)
    assert rank_score(x, torch.tensor([2.0, 0.0, 3.0])) == pytest.approx(expected)


def test_each_statistic_catches_copies_and_none_a_fresh_sample() -> None:
    train, test, fresh = normals(600, 400, 400)
    copies = train[:400] + 0.05 * normals(400, seed=1)[0]
    wide = 1.3 * normals(400, seed=2)[0]

    def found(samples: Tensor) -> dict[str, float]:
        return nearest_training(samples, train, test, "x")[0]

    good, bad, off = found(fresh), found(copies), found(wide)
    floor = good["authentic_x_test"]
    assert abs(good["copying_score_x"]) < 3
    assert good["copying_score_x_covered"] == 1
    assert abs(good["copying_x"] - 0.5) < 0.06
    assert abs(good["authentic_x"] - floor) < 0.1
    assert bad["copying_score_x"] < -5
    assert bad["copying_x"] > 0.95
    assert bad["authentic_x"] < 0.02
    assert off["copying_score_x"] > 3
    assert off["copying_x"] < 0.2


def test_distances_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    train, test, fake = normals(300, 100, 150)
    queries = list[Tensor]()

    def noted(query: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
        queries.append(query)
        return neighbours(query, bank, k)

    alone = authentic_share(fake, train), copying_score(fake, test, train)["score"]
    for place in (memorisation, metrics):
        monkeypatch.setattr(place, "neighbours", noted)
    found = nearest_training(fake, train, test, "x")[0]
    assert (found["authentic_x"], found["copying_score_x"]) == alone
    assert len(queries) == 4  # the two sets, and the training images nearest to each
    assert sum(query is fake or query is test for query in queries) == 2


@pytest.mark.parametrize("rows", [50, 5])
def test_principal_axes_are_those_of_the_singular_values(rows: int) -> None:
    x = torch.randn(rows, 8, dtype=torch.float64) * torch.arange(1, 9)
    x = x - x.mean(0)
    expected = torch.linalg.svd(x, full_matrices=False).Vh[:3]
    found = principal_axes(x, 3)
    torch.testing.assert_close((expected @ found).abs(), torch.eye(3, dtype=torch.float64))


def test_a_mode_that_is_never_generated_is_not_covered() -> None:
    train, test, fake = normals(300, 200, 200)
    far = torch.full((16,), 20.0)
    train, test = torch.cat([train, train + far]), torch.cat([test, test + far])
    found = copying_score(fake, test, train, cells=2)
    assert found["covered"] == 0.5
    assert abs(found["score"]) < 3
    nothing = copying_score(fake[:10], test, train)
    assert math.isnan(nothing["score"])
    assert nothing["covered"] == 0
