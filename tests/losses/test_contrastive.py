from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import losses
from genlab.losses import contrastive
from tests.conftest import TwoRanks
from tests.losses.golden_embeddings import x


def slow_nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Equation 1 of the paper, a pair at a time."""
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    n, total = len(z1), torch.zeros((), dtype=z.dtype)
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        others = sum(torch.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k != i)
        total = total - torch.log(torch.exp(z[i] @ z[partner] / temperature) / others)
    return total / (2 * n)


@pytest.mark.parametrize(
    ("temperature", "value"),
    [
        (0.5, 1.771468096227357),
        (0.1, 0.11220955474208),
        (0.07, 0.02152358124907),
        (1.0, 2.22004420585127),
    ],
)
def test_nt_xent_has_the_published_values_and_the_papers_form(
    temperature: float, value: float
) -> None:
    a, b = x(0, 8, 16), x(1, 8, 16)
    found = losses.nt_xent(a, b, temperature)
    assert float(found) == pytest.approx(value, abs=1e-9)
    torch.testing.assert_close(found, slow_nt_xent(a, b, temperature))
    torch.testing.assert_close(losses.nt_xent(7 * a, 0.1 * b, temperature), found)  # normalised


def test_an_embedding_never_meets_itself() -> None:
    eye = torch.eye(8, dtype=torch.float64)
    assert float(losses.nt_xent(eye, eye, 0.5)) == pytest.approx(math.log(math.exp(2) + 14) - 2)
    same = torch.ones(8, 4)
    assert float(losses.nt_xent(same, same)) == pytest.approx(math.log(15), abs=1e-5)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite(kind: torch.dtype) -> None:
    a, b = x(0, 8, 16).to(kind).requires_grad_(), x(1, 8, 16).to(kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = losses.nt_xent(a, b, 0.07)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert a.grad is not None
    assert a.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0.01, 1e-3])
def test_a_small_temperature_does_not_overflow(temperature: float) -> None:
    a, b = x(0, 8, 16).float(), x(1, 8, 16).float()
    found = losses.nt_xent(a, b, temperature)
    expected = losses.nt_xent(x(0, 8, 16), x(1, 8, 16), temperature)
    assert float(found) == pytest.approx(float(expected), abs=1e-3)


def test_two_ranks_are_one_process(two_ranks: TwoRanks) -> None:
    one, two = two_ranks.results("tests.losses.programs_contrastive:gathered")
    assert float(one["loss"]) == pytest.approx(1.7714680962, abs=1e-9)
    for result in (one, *two):
        assert float(result["grad"].norm()) == pytest.approx(0.5901613814396957, abs=1e-9)
        assert float(result["grad"][0, 1]) == pytest.approx(-0.01255790666752, abs=1e-9)
        torch.testing.assert_close(result["loss"], one["loss"])
    two_ranks.assert_same("tests.losses.programs_contrastive:keys_in_batch", atol=1e-9)


def test_ranks_with_unequal_rows_are_refused(two_ranks: TwoRanks) -> None:
    one, two = two_ranks.results("tests.losses.programs_contrastive:unequal")
    assert one["said"]
    assert all(result["said"] for result in two)


@pytest.mark.parametrize("temperature", [0.2, 0.05, 0.01])  # the last too small to be symmetric
def test_blocks_give_the_same_loss_and_gradient(
    temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(full: int) -> tuple[Tensor, Tensor, Tensor]:
        monkeypatch.setattr(contrastive, "FULL", full)
        a, b = x(0, 300, 16).requires_grad_(), x(1, 300, 16).requires_grad_()
        loss = losses.nt_xent(a, b, temperature)
        loss.backward()
        assert a.grad is not None
        assert b.grad is not None
        return loss.detach(), a.grad, b.grad

    monkeypatch.setattr(contrastive, "BLOCK", 128)  # 600 rows: the last block is not full
    for found, expected in zip(both(10), both(10_000), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.2, 0.01])
def test_blocks_can_be_differentiated_within_autocast(
    temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies around them rounds to bfloat16 then, as torch warns."""

    def gradient(half: bool) -> Tensor:
        leaf = x(0, 32, 8).float().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            losses.nt_xent(leaf, x(1, 32, 8).float(), temperature).backward()
        assert leaf.grad is not None
        return leaf.grad

    monkeypatch.setattr(contrastive, "FULL", 10)
    monkeypatch.setattr(contrastive, "BLOCK", 20)
    found, expected = gradient(half=True), gradient(half=False)
    assert float((found - expected).norm() / expected.norm()) < 0.02


def test_blocks_in_single_precision_at_the_smallest_symmetric_temperature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Views that are equal, and others opposite: totals as far apart as they can be."""
    z = F.normalize(x(0, 64, 16)).repeat(4, 1)
    a, b = torch.cat([z, -z[:1]]), torch.cat([z, z[1:2]])

    def gradient(full: int, dtype: torch.dtype) -> Tensor:
        monkeypatch.setattr(contrastive, "FULL", full)
        leaf = a.detach().to(dtype, copy=True).requires_grad_()
        losses.nt_xent(leaf, b.to(dtype), contrastive._Among.LEAST).backward()
        assert leaf.grad is not None
        return leaf.grad

    monkeypatch.setattr(contrastive, "BLOCK", 100)
    expected = gradient(10_000, torch.float64)
    found = gradient(10, torch.float32).double()
    assert float((found - expected).norm() / expected.norm()) < 1e-5


def test_moco_v3_scales_by_two_tau_and_keeps_keys_constant() -> None:
    q, k = x(0, 8, 16).requires_grad_(), x(1, 8, 16).requires_grad_()
    loss = losses.info_nce_in_batch(q, k, 0.2)
    loss.backward()
    plain = F.cross_entropy(F.normalize(q) @ F.normalize(k).T / 0.2, torch.arange(8))
    torch.testing.assert_close(loss / 0.4, plain)
    assert k.grad is None


def test_queue_loss_is_cross_entropy_with_the_key_first() -> None:
    q, k = x(0, 4, 8).requires_grad_(), x(1, 4, 8).requires_grad_()
    bank = F.normalize(x(2, 12, 8))
    loss = losses.info_nce(q, k, bank, 0.1)
    loss.backward()
    rows = [
        torch.cat([F.normalize(k)[i : i + 1], bank]) @ F.normalize(q)[i] / 0.1 for i in range(4)
    ]
    slow = torch.stack([row.logsumexp(0) - row[0] for row in rows]).mean()
    torch.testing.assert_close(loss, slow)
    assert k.grad is None


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_without_meaning_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        losses.nt_xent(torch.randn(4, 2), torch.randn(4, 2), temperature)
    with pytest.raises(ValueError, match="two \\(N, D\\)"):
        losses.nt_xent(torch.randn(4, 2), torch.randn(3, 2))
