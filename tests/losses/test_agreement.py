from __future__ import annotations

import pytest
import torch

from genlab import losses
from tests.losses.golden_embeddings import x


def test_values_on_paper() -> None:
    p, z = x(0, 8, 16), x(1, 8, 16)
    assert float(losses.negative_cosine(p, z)) == pytest.approx(-0.5629706142494539, abs=1e-9)
    assert float(losses.normalised_distance(p, z)) == pytest.approx(0.8740587715009012, abs=1e-9)


def test_the_target_is_a_constant_and_lengths_do_not_matter() -> None:
    p, z = x(0, 4, 8).requires_grad_(), x(1, 4, 8).requires_grad_()
    loss = losses.negative_cosine(p, z)
    loss.backward()
    assert z.grad is None
    assert p.grad is not None
    assert float(p.grad.norm()) > 0
    torch.testing.assert_close(losses.negative_cosine(3 * p, 0.2 * z), loss)


def test_swapping_prediction_and_target_swaps_the_gradient() -> None:
    p, z = x(0, 4, 8).requires_grad_(), x(1, 4, 8).requires_grad_()
    losses.normalised_distance(z, p).backward()
    assert p.grad is None
    assert z.grad is not None


def test_half_precision_is_computed_in_full() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = losses.normalised_distance(x(0, 4, 8).bfloat16(), x(1, 4, 8).bfloat16())
    assert loss.dtype == torch.float32
