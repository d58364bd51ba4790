"""Levels, weights and grids against EDM's, diffusers' and DDPM's numbers; gotchas A13, A15, A16."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from genlab.networks.denoisers.noise_levels import SCHEDULES, NoiseLevels, kept_signal


def test_edms_grid() -> None:
    """Of edm 008a4e5, 18 steps."""
    grid = NoiseLevels("edm").grid(18)
    assert len(grid) == 19
    expected = {0: 80.0, 1: 57.5859847212, 9: 1.9233398370, 16: 0.0075280200, 17: 0.002, 18: 0.0}
    for place, level in expected.items():
        assert grid[place] == pytest.approx(level, abs=1e-9)


def test_ddpms_last_step_keeps_a_trace_of_the_image() -> None:
    """The line leaves .0063 of the image at its last step, the cosine next to nothing."""
    line, cosine = kept_signal("linear"), kept_signal("cosine")
    assert float(line[0]) == pytest.approx(0.9999, abs=1e-12)
    assert float(line[499]) == pytest.approx(0.0785872429, abs=1e-9)
    assert float(line[999]) == pytest.approx(4.0358298e-5, rel=1e-6)
    assert float(line[999].sqrt()) == pytest.approx(0.0063, abs=1e-4)
    assert float(cosine[999]) == pytest.approx(2.4288e-9, rel=1e-4)


def test_ten_steps_of_ddpm_see_the_noisiest_level() -> None:
    """999, 899 ... 99: those who begin at 900 never see what sampling starts from."""
    levels, kept = NoiseLevels("linear"), kept_signal("linear")
    expected = [float(((1 - kept[k]) / kept[k]).sqrt()) for k in range(999, 0, -100)]
    assert levels.grid(10) == pytest.approx([*expected, 0.0])
    assert len(set(levels.grid(1000))) == 1001


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_grid_descends_from_the_largest_bound_to_zero(schedule: str) -> None:
    levels = NoiseLevels(schedule)
    for steps in (2, 7, 50):
        grid = levels.grid(steps)
        assert len(grid) == steps + 1
        assert grid == sorted(grid, reverse=True)
        assert grid[0] == pytest.approx(levels.bounds[1])
        assert grid[-1] == 0


def test_edms_levels_are_log_normal() -> None:
    place = (torch.arange(20_000).double() + 0.5) / 20_000
    log = NoiseLevels("edm", mean=-0.7, spread=0.4).double().at(place).log()
    assert float(log.mean()) == pytest.approx(-0.7, abs=1e-4)
    assert float(log.std()) == pytest.approx(0.4, abs=1e-3)
    assert NoiseLevels().at(torch.tensor([0.0, 1.0])).isfinite().all()


def test_ddpms_levels_are_all_drawn_alike() -> None:
    levels = NoiseLevels("cosine").double()
    drawn = levels.at((torch.arange(3000).double() + 0.5) / 3000)
    assert len(drawn.unique()) == 1000
    assert float(drawn.min()) == pytest.approx(levels.bounds[0])
    assert float(drawn.max()) == pytest.approx(levels.bounds[1])


def test_weights() -> None:
    """EDM: (s^2 + d^2) / (s d)^2; DDPM: that of the noise's error."""
    level = torch.tensor([0.002, 0.5, 80.0]).double()
    edm = NoiseLevels("edm").weight(level, 0.5)
    torch.testing.assert_close(edm, (level**2 + 0.25) / (0.5 * level) ** 2)
    torch.testing.assert_close(NoiseLevels("linear").weight(level, 0.5), 1 / level**2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"schedule": "sigmoid"}, "unknown schedule 'sigmoid'; choose from edm, linear, cosine"),
        ({"spread": 0.0}, "sigma_log_spread 0.0 must be above 0"),
        ({"schedule": "cosine", "spread": 1.2}, "sigma_log_spread requires schedule edm"),
        ({"schedule": "linear", "mean": 0.0}, "sigma_log_mean requires schedule edm"),
    ],
)
def test_refusals(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NoiseLevels(**options)


def test_refused_grids() -> None:
    for schedule, steps in (("edm", 1), ("linear", 1001)):
        with pytest.raises(ValueError, match=f"sampler_steps {steps} must be at least 2"):
            NoiseLevels(schedule).grid(steps)
    assert math.isfinite(NoiseLevels("edm").grid(2)[1])
