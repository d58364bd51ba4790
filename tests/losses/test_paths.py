"""Paths against two public implementations' numbers, and pairs against every permutation."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab import losses


def x(n: int, d: int) -> Tensor:
    i, j = torch.meshgrid(torch.arange(n).double(), torch.arange(d).double(), indexing="ij")
    return torch.sin(1 + 1.7 * i + 0.9 * j + 0.31 * i * j)


def y(n: int, d: int) -> Tensor:
    i, j = torch.meshgrid(torch.arange(n).double(), torch.arange(d).double(), indexing="ij")
    return torch.sin(2 + 1.3 * i + 0.7 * j + 0.23 * i * j)


TIMES = torch.tensor([0.1, 0.35, 0.6, 0.85], dtype=torch.float64)


def row(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def test_the_straight_path_is_that_of_flow_matching_and_torchcfm() -> None:
    """Versions 1.0.10 and 1.0.7, in float64."""
    point, velocity = losses.path_point("straight", x(4, 3), y(4, 3), TIMES)
    exact: dict[str, Any] = {"atol": 1e-9, "rtol": 0.0}
    torch.testing.assert_close(point[3], row(-0.3451195407, 0.8679301992, 0.5267904604), **exact)
    torch.testing.assert_close(
        velocity[3], row(-0.1917141606, -0.1519785835, 1.0067874333), **exact
    )
    assert float(velocity.square().mean()) == pytest.approx(0.18339621082920524, abs=1e-12)


def test_the_variance_preserving_path_is_the_cosine_of_both() -> None:
    point, velocity = losses.path_point("variance_preserving", x(4, 3), y(4, 3), TIMES)
    exact: dict[str, Any] = {"atol": 1e-9, "rtol": 0.0}
    torch.testing.assert_close(point[1], row(0.2819793525, -1.0554530590, -1.2538076768), **exact)
    torch.testing.assert_close(
        velocity[1], row(-0.5620398613, -0.6160866403, -0.4538826468), **exact
    )
    alpha, sigma, _, _ = losses.path_weights("variance_preserving", TIMES)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("path", losses.PATHS)
def test_a_path_goes_from_the_noise_to_the_data_at_its_velocity(path: str) -> None:
    noise, data = x(4, 3), y(4, 3)
    ends = [losses.path_point(path, noise, data, torch.full((4,), t).double())[0] for t in (0, 1)]
    torch.testing.assert_close(ends[0], noise)
    torch.testing.assert_close(ends[1], data)
    small = 1e-6
    later, earlier = (losses.path_point(path, noise, data, TIMES + s)[0] for s in (small, -small))
    _, velocity = losses.path_point(path, noise, data, TIMES)
    torch.testing.assert_close(velocity, (later - earlier) / (2 * small), atol=1e-7, rtol=0)
    for moved in (noise + 1, noise), (noise, data + 1):
        changed, _ = losses.path_point(path, *moved, TIMES)
        assert (changed - losses.path_point(path, noise, data, TIMES)[0]).abs().min() > 0.05


def test_an_unknown_path_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown path 'bent'; choose from straight"):
        losses.path_weights("bent", TIMES)


def test_the_error_is_summed_over_dimensions() -> None:
    found = losses.velocity_error(torch.ones(2, 3, 4, 5), torch.zeros(2, 3, 4, 5))
    assert found.tolist() == [60, 60]


def test_pairs_are_the_cheapest_of_all_permutations() -> None:
    """The assignment of POT 0.9.7, whose cost brute force confirms."""
    noise, data = x(8, 2), y(8, 2)
    pairs = losses.transport_pairs(noise, data)
    assert pairs.argsort().tolist() == [4, 1, 2, 3, 5, 6, 7, 0]  # the data of each row of noise
    cost = (noise[pairs] - data).square().sum(1).mean()
    assert float(cost) == pytest.approx(0.2117662994178937, abs=1e-12)
    assert float((noise - data).square().sum(1).mean()) == pytest.approx(1.0586311737, abs=1e-9)
    few = [
        float((x(5, 2)[list(order)] - y(5, 2)).square().sum()) for order in permutations(range(5))
    ]
    chosen = (x(5, 2)[losses.transport_pairs(x(5, 2), y(5, 2))] - y(5, 2)).square().sum()
    assert float(chosen) == pytest.approx(min(few), abs=1e-12)


def test_two_halves_by_themselves_pair_at_a_higher_cost() -> None:
    noise, data = x(8, 2), y(8, 2)
    first, second = (losses.transport_pairs(noise[h], data[h]) for h in (slice(4), slice(4, 8)))
    halves = torch.cat([first, second + 4])
    cost = (noise[halves] - data).square().sum(1).mean()
    assert float(cost) == pytest.approx(0.2394566640, abs=1e-9)


def test_noise_keeps_its_class() -> None:
    """Data of two classes far apart: without labels the noise of each would be far apart too."""
    torch.manual_seed(0)
    label = torch.arange(256) % 2
    noise, data = torch.randn(256, 2), torch.randn(256, 2) + 5 * label[:, None]
    blind = noise[losses.transport_pairs(noise, data)]
    pairs = losses.transport_pairs(noise, data, label)
    assert sorted(pairs.tolist()) == list(range(256))
    assert label[pairs].equal(label)

    def gap(paired: Tensor) -> float:
        return float((paired[label == 1].mean(0) - paired[label == 0].mean(0)).abs().max())

    assert gap(blind) > 0.8
    assert gap(noise[pairs]) == pytest.approx(gap(noise), abs=1e-5)
    assert gap(noise) < 0.4
    before, after = ((n - data).square().sum() for n in (noise, noise[pairs]))
    assert after < before
