"""Levels of latents: golden values of ladder and residual posteriors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlab.losses import kl_normal
from genlab.networks.latents.levels import Level, Normal, ladder, residual


def one(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_a_ladder_multiplies_densities() -> None:
    """Variances .5 and 2, means .3 and -1."""
    q, p = Normal(one(0.3), one(0.5).log()), Normal(one(-1), one(2).log())
    found = ladder(q, p)
    assert found.mean.item() == pytest.approx(0.04, abs=1e-12)
    assert found.logvar.exp().item() == pytest.approx(0.4, abs=1e-12)
    assert kl_normal(*found, *p).item() == pytest.approx(0.6751189562, abs=1e-9)


def test_a_residual_moves_the_prior() -> None:
    p = Normal(one(1, -0.5), 2 * one(-0.6, 0.2))
    found = residual(Normal(one(0.3, -0.2), 2 * one(0.1, -0.4)), p)
    expected = [0.1601066406, 0.1380708830]
    assert kl_normal(*found, *p).tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("form", ["independent", "ladder", "residual"])
def test_a_level_sees_image_and_levels_above(form: str) -> None:
    torch.manual_seed(0)
    level = Level(2, 3, 4, [8], "tanh", form)
    features, above = torch.randn(5, 4), torch.randn(6, 5, 3)
    p = level.prior(above)
    q = level.posterior(features, above, p)
    assert q.mean.shape == p.mean.shape == (6, 5, 2)
    moved = level.posterior(features + 1, above, p)
    assert (moved.mean != q.mean).all()
    torch.testing.assert_close(level.posterior(features, above[2], level.prior(above[2])).mean,
                               q.mean[2])  # fmt: skip


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown form 'tree'; choose from independent, ladder"):
        Level(2, 3, 4, [8], "tanh", "tree")
