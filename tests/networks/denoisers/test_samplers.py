"""Samplers against EDM's and diffusers' numbers, through denoisers that are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlab.networks.denoisers import samplers
from genlab.networks.denoisers.noise_levels import NoiseLevels, kept_signal
from tests.losses.test_paths import row, x, y

DATA = 0.5


def exact(noisy: Tensor, level: Tensor) -> Tensor:
    """The denoiser of N(0, 0.25)."""
    return DATA**2 / (DATA**2 + level.view(-1, 1) ** 2) * noisy


def test_heun_of_edm() -> None:
    """18 steps of edm 008a4e5: 35 evaluations, no division by the last level; 5.5 % too wide."""
    grid = NoiseLevels("edm").grid(18)
    found, evaluations = samplers.denoise(exact, 80 * x(1, 3), grid)
    assert evaluations == 35
    expected = row(0.4439808229, 0.4992912403, 0.1767480011)
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-9)
    true = 80 * x(1, 3)[0] * DATA / (80**2 + DATA**2) ** 0.5
    torch.testing.assert_close(true, row(0.4207272752, 0.4731408029, 0.1674908038))


@pytest.mark.parametrize(("steps", "wide"), [(6, 0.71), (18, 0.055), (40, 0.010)])
def test_heuns_error_falls_with_the_steps(steps: int, wide: float) -> None:
    found, _ = samplers.denoise(exact, 80 * x(1, 3), NoiseLevels("edm").grid(steps))
    true = 80 * x(1, 3) * DATA / (80**2 + DATA**2) ** 0.5
    assert float((found / true).mean()) - 1 == pytest.approx(wide, rel=0.03)


def ddim(sampler: str) -> Tensor:
    """One step from DDPM's level 500 to 400 in its own units, of x = X(1, 3), noise Y(1, 3)."""
    kept = kept_signal("linear")[[500, 400]]
    level, following = ((1 - kept) / kept).sqrt().tolist()
    start = x(1, 3) / kept[0].sqrt()  # not shrunk
    clean = start - level * y(1, 3)
    torch.testing.assert_close(
        clean[0], row(-0.1137967039, 1.9212681738, 2.0808361080), rtol=0, atol=1e-9
    )
    if sampler == "ancestral":
        many = start.expand(200_000, 3)
        drawn = samplers.ancestral_step(many, clean, level, following)
        spread = float(kept[1].sqrt()) * drawn.std(0)
        variance = (1 - kept[1]) / (1 - kept[0]) * (1 - kept[0] / kept[1])
        torch.testing.assert_close(spread, variance.sqrt().expand(3), rtol=0.01, atol=0)
        return kept[1].sqrt() * drawn.mean(0, keepdim=True)
    end, _ = samplers.denoise(lambda noisy, _: clean, start, [level, following], "ddim")
    return kept[1].sqrt() * end


def test_a_ddim_step_without_noise() -> None:
    """Of diffusers 0.42.1, eta 0, clip_sample off."""
    expected = row(0.7664943052, 1.2290897253, 0.6860223765)
    torch.testing.assert_close(ddim("ddim")[0], expected, rtol=0, atol=1e-9)


def test_an_ancestral_step() -> None:
    """Of diffusers 0.42.1, eta 1: the mean, and DDPM's posterior variance."""
    torch.manual_seed(0)
    expected = row(0.4340133617, 1.0728199926, 0.7794599518)
    torch.testing.assert_close(ddim("ancestral")[0], expected, rtol=0, atol=3e-3)


def test_ancestral_samples_have_the_datas_spread() -> None:
    torch.manual_seed(0)
    for schedule in ("edm", "linear"):
        grid = NoiseLevels(schedule).grid(200)
        noise = grid[0] * torch.randn(20_000, 1, dtype=torch.float64)
        found, evaluations = samplers.denoise(exact, noise, grid, "ancestral")
        assert evaluations == 200
        assert float(found.std()) == pytest.approx(DATA, rel=0.05), schedule


def test_refusals() -> None:
    with pytest.raises(ValueError, match="unknown sampler 'huen'; choose from heun, ddim, ances"):
        samplers.denoise(exact, x(1, 3), [1.0, 0.0], "huen")
