"""Mixup and CutMix: what is mixed, by how much, and that the targets say so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from genlab.augment import Mixing

K = 10


def batch(n: int = 8) -> tuple[Tensor, Tensor]:
    """Image i is grey i / n everywhere and of class i mod K."""
    grey = torch.arange(n) / n
    return grey[:, None, None, None].expand(n, 3, 16, 16).contiguous(), torch.arange(n) % K


def shares(**options: Any) -> Tensor:
    """Over 400 batches, the share of the first image's own label."""
    image, label = batch()
    mixing = Mixing(K, **options)
    return torch.stack([mixing(image, label)[1][0, 0] for _ in range(400)])


def test_mixup_blends_as_much_as_the_targets_say() -> None:
    image, label = batch()
    before = image.clone()
    mixed, target = Mixing(K, mixup=1.0)(image, label)
    assert torch.equal(image, before)
    share = target[0, 0]
    assert 0 < share < 1
    expected = share * image + (1 - share) * image.flip(0)
    torch.testing.assert_close(mixed, expected)
    assert target[0, 7].item() == pytest.approx(1 - share.item())
    torch.testing.assert_close(target.sum(1), torch.ones(8))


def test_cutmix_pastes_as_much_area_as_the_targets_say() -> None:
    image, label = batch()
    mixing = Mixing(K, cutmix=1.0)
    for _ in range(50):
        mixed, target = mixing(image, label)
        for i in range(8):
            own = (mixed[i] == image[i]).all(0)
            other = (mixed[i] == image[7 - i]).all(0)
            assert (own ^ other).all()
            assert target[i, i].item() == pytest.approx(own.float().mean().item(), abs=1e-6)
            box = other.any(1).sum() * other.any(0).sum()
            assert box == other.sum()  # one rectangle
        torch.testing.assert_close(target.sum(1), torch.ones(8))


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_lambda_is_a_beta_variable(alpha: float) -> None:
    drawn = shares(mixup=alpha)
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.08)
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.2)


def test_prob_and_switch_prob_are_chances_of_batches() -> None:
    untouched = (shares(mixup=1.0, prob=0.3) == 1).float().mean()
    assert untouched.item() == pytest.approx(0.7, abs=0.08)
    image, label = batch()
    mixing = Mixing(K, mixup=1.0, cutmix=1.0, switch_prob=0.8)
    flat = [
        bool((m[0] == m[0, 0, 0, 0]).all()) for m, _ in (mixing(image, label) for _ in range(400))
    ]
    assert sum(flat) / 400 == pytest.approx(0.2, abs=0.1)  # a blend of two greys is one grey


@pytest.mark.parametrize("options", [{}, {"mixup": 1.0, "prob": 0.0}])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_off_means_untouched_images_and_smoothed_labels(
    options: dict[str, float], smoothing: float
) -> None:
    image, label = batch()
    mixed, target = Mixing(K, label_smoothing=smoothing, **options)(image, label)
    assert torch.equal(mixed, image)
    expected = torch.nn.functional.one_hot(label, K) * (1 - smoothing) + smoothing / K
    torch.testing.assert_close(target, expected)


def test_smoothing_and_mixing_go_together() -> None:
    image, label = batch()
    _, target = Mixing(K, mixup=1.0, label_smoothing=0.2)(image, label)
    torch.testing.assert_close(target.sum(1), torch.ones(8))
    assert target.min().item() == pytest.approx(0.02)


@pytest.mark.parametrize("n", [1, 5])
def test_the_odd_one_out_stays_as_it_is(n: int) -> None:
    image, label = batch(n)
    mixed, target = Mixing(K, mixup=1.0)(image, label)
    assert mixed.shape == image.shape
    assert target.shape == (n, K)
    assert torch.equal(mixed[-1], image[-1])
    assert target[-1, n - 1] == 1
    if n > 1:
        assert (mixed[0] != image[0]).all()


def test_draws_follow_torchs_generator_and_leave_numpys_alone() -> None:
    image, label = batch()
    mixing = Mixing(K, mixup=1.0, cutmix=1.0)

    def three(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.stack([mixing(image, label)[0] for _ in range(3)])

    before = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    assert torch.equal(three(1), three(1))
    assert not torch.equal(three(1), three(2))
    assert not torch.equal(three(1)[0], three(1)[1])
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002


def test_unknown_labels_are_refused() -> None:
    image, label = batch()
    label[3] = -1
    for mixing in (Mixing(K), Mixing(K, mixup=1.0)):
        with pytest.raises(ValueError, match="mixing requires labels"):
            mixing(image, label)


@pytest.mark.parametrize(
    "options",
    [
        {"mixup": -1.0},
        {"cutmix": -0.1},
        {"prob": 1.1},
        {"switch_prob": 2.0},
        {"label_smoothing": 1.5},
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Mixing(K, **options)
    with pytest.raises(ValueError, match="num_classes 1"):
        Mixing(1)
