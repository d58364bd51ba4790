"""Distances over masked parts: values on paper, and equal on two ranks however they are dealt."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlab import distributed, losses
from genlab.augment.patches import cut
from tests.conftest import TwoRanks
from tests.losses.golden_embeddings import x

MASKED = torch.tensor([[1, 0, 1, 1], [1, 1, 0, 1]], dtype=torch.bool)


def images() -> Tensor:
    m = torch.arange(2 * 3 * 8 * 8).double()
    return (0.5 + 0.5 * torch.sin(0.37 * m + 0.011 * m * m / 64)).view(2, 3, 8, 8)


def pixels(masked: Tensor) -> Tensor:
    """Patches of 4 x 4 of an 8 x 8 image: (B, 4) -> (B, 1, 8, 8)."""
    return masked.view(-1, 1, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)


def slow_patches(image: Tensor, prediction: Tensor, masked: Tensor, normalise: bool) -> Tensor:
    """The mean over the masked patches, one after the other."""
    distances = []
    for b, patch in masked.nonzero().tolist():
        top, left = 4 * (patch // 2), 4 * (patch % 2)
        target = image[b, :, top : top + 4, left : left + 4].permute(1, 2, 0).flatten()
        if normalise:
            n = len(target)
            variance = (target - target.sum() / n).square().sum() / (n - 1)
            target = (target - target.sum() / n) / (variance + 1e-6).sqrt()
        distances.append((prediction[b, patch] - target).square().mean())
    return torch.stack(distances).mean()


@pytest.mark.parametrize(
    ("normalise", "value", "length"),
    [(False, 0.869900078151, 0.109917903592), (True, 1.499257959177, 0.144301861425)],
)
def test_patches_on_paper(normalise: bool, value: float, length: float) -> None:
    """MA1, MA2: not 1.520265486999, of the biased variance, nor 1.400086920882, channels first."""
    prediction = x(2, 8, 48).view(2, 4, 48).requires_grad_()
    target = cut(images(), (2, 2))
    found = losses.masked_patches(
        prediction, losses.standardised(target) if normalise else target, MASKED
    )["loss"]
    found.backward()
    assert prediction.grad is not None
    assert float(found.detach()) == pytest.approx(value, abs=1e-9)
    assert float(prediction.grad.norm()) == pytest.approx(length, abs=1e-9)
    assert torch.equal(prediction.grad.abs().sum(2) > 0, MASKED)
    slow = slow_patches(images(), prediction.detach(), MASKED, normalise)
    torch.testing.assert_close(found.detach(), slow, rtol=0, atol=1e-12)


def test_pixels_on_paper() -> None:
    """SM1."""
    prediction = x(3, 48, 8).view(2, 3, 8, 8).requires_grad_()
    found = losses.masked_pixels(prediction, images(), pixels(MASKED))["loss"]
    found.backward()
    assert prediction.grad is not None
    assert float(found.detach()) == pytest.approx(0.756048151847, abs=1e-9)
    assert float(prediction.grad.norm()) == pytest.approx(0.058925558961, abs=1e-9)
    there = pixels(MASKED).expand_as(prediction)
    slow = (prediction - images()).abs()[there].mean().detach()
    assert float(slow) == pytest.approx(0.756048230602, abs=1e-9)  # without 1e-5 in the count


def test_a_patch_of_one_value_is_nothing() -> None:
    """MA4."""
    flat = torch.full((1, 1, 4), 0.3, dtype=torch.float64)
    assert torch.equal(losses.standardised(flat), torch.zeros_like(flat))
    level = torch.zeros(1, 1, 16, dtype=torch.float64)
    level[..., 0] = 1 / 255  # a single grey level of a byte
    assert float(losses.standardised(level).max()) == pytest.approx(2.6, abs=0.05)


def test_squared_pixels_are_squared_patches() -> None:
    prediction = x(3, 48, 8).view(2, 3, 8, 8)
    found = losses.masked_pixels(prediction, images(), pixels(MASKED), squared=True)
    expected = losses.masked_patches(cut(prediction, (2, 2)), cut(images(), (2, 2)), MASKED)
    for name, value in expected.items():  # 1e-5 in the count
        assert float(found[name]) == pytest.approx(float(value), rel=1e-6), name


def test_one_value_for_what_is_hidden_explains_nothing_and_the_target_all() -> None:
    target = losses.standardised(cut(images(), (2, 2)))
    none = losses.masked_patches(torch.zeros_like(target), target, MASKED)
    assert float(none["explained"]) == pytest.approx(0, abs=1e-12)
    assert float(none["loss"]) == pytest.approx(47 / 48, abs=1e-4)  # (n - 1) / n
    assert float(losses.masked_patches(target, target, MASKED)["explained"]) == 1
    there = pixels(MASKED)
    for squared, one in ((False, torch.median), (True, torch.mean)):
        seen = [one(image[:, ~hidden[0]]) for image, hidden in zip(images(), there, strict=True)]
        middle = torch.stack(seen).view(2, 1, 1, 1).expand(2, 3, 8, 8)
        none = losses.masked_pixels(middle, images(), there, squared)
        assert float(none["explained"]) == pytest.approx(0, abs=1e-12)
        assert float(losses.masked_pixels(images(), images(), there, squared)["explained"]) == 1


def test_mere_background_explains_nothing_of_sparse_strokes() -> None:
    """The mean of what is visible would be worse than black: it said 0.4 of nothing learnt."""
    image = (torch.arange(2 * 64).view(2, 1, 8, 8) % 8 == 0).double()
    there = pixels(torch.tensor([[1, 0, 0, 1], [0, 1, 1, 0]], dtype=torch.bool))
    black = losses.masked_pixels(torch.zeros_like(image), image, there)
    assert float(black["explained"]) == 0
    assert float(losses.masked_pixels(0.9 * image, image, there)["explained"]) > 0.89


def test_tokens_on_paper() -> None:
    """IJ1: smooth L1; the squared distance would be 0.713904050393."""
    prediction = x(6, 12, 16).requires_grad_()
    found = losses.token_distance(prediction, x(5, 12, 16))
    found.backward()
    assert prediction.grad is not None
    assert float(found.detach()) == pytest.approx(0.351716805135, abs=1e-9)
    assert float(prediction.grad.norm()) == pytest.approx(0.055967240215, abs=1e-9)


def test_predicting_zero_costs_what_the_docstring_says() -> None:
    tokens = torch.randn(2000, 64)
    assert float(losses.token_distance(torch.zeros_like(tokens), tokens)) == pytest.approx(
        0.4247, abs=0.005
    )


def test_each_place_is_standardised_over_the_images() -> None:
    tokens = x(6, 50, 4 * 8).view(50, 4, 8)
    found = losses.standardised_over_images(3 * tokens + 7)
    layered = torch.nn.functional.layer_norm(tokens, (8,), eps=1e-5 / 9)
    expected = (layered - layered.mean(0)) / (layered.var(0, correction=0) + 1e-6).sqrt()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.mean(0), torch.zeros(4, 8).double(), rtol=0, atol=1e-9)
    same = tokens[:1].expand(5, -1, -1)
    assert float(losses.standardised_over_images(same).abs().max()) < 1e-9


def standardised(rank: int, world: int) -> dict[str, Tensor]:
    """Tokens of unequal shards, by the statistics of all."""
    mine = x(6, 7, 32).view(7, 4, 8)[rank::world]
    return {"rows": distributed.gather_rows(losses.standardised_over_images(mine))}


def test_tokens_of_two_processes_are_standardised_together(two_ranks: TwoRanks) -> None:
    one, two = two_ranks.results("tests.losses.test_masked:standardised")
    for found in two:
        torch.testing.assert_close(found["rows"].sort(0)[0], one["rows"].sort(0)[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near(dtype: torch.dtype) -> None:
    prediction, target = x(2, 8, 48).view(2, 4, 48), cut(images(), (2, 2))
    exact = losses.masked_patches(prediction, target, MASKED)["loss"]
    half = losses.masked_patches(prediction.to(dtype), target.to(dtype), MASKED)["loss"]
    assert half.dtype == torch.float32
    assert float(half) == pytest.approx(float(exact), abs=1e-2)


def dealt(rank: int, world: int) -> dict[str, Tensor]:
    """Rows of unequal masks: loss and gradient, each a mean over ranks."""
    w = torch.ones((), dtype=torch.float64, requires_grad=True)
    rows = slice(rank, None, world)
    masked = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)[rows]
    prediction = w * x(3, 48, 8).view(2, 3, 8, 8)[rows]
    loss = losses.masked_pixels(prediction, images()[rows], pixels(masked))["loss"]
    loss.backward()
    assert w.grad is not None
    both = torch.stack([loss.detach(), w.grad])
    return {"mean": distributed.all_reduce_sum(both) / world}


def test_two_ranks_are_one_with_unequal_masks(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.losses.test_masked:dealt", atol=1e-12)
