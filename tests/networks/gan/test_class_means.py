"""Moving averages of features by class: corrected from the start, no jump for rare classes."""

from __future__ import annotations

import pytest
import torch

from genlab.networks.gan.class_means import ClassMeans, class_sums, mean_gap


def test_the_first_batch_gives_its_own_means() -> None:
    """No start at zero: an average of a decay alone would have a tenth of them."""
    h, label = torch.randn(7, 3), torch.tensor([0, 2, 2, 0, 2, 2, 2])
    means = ClassMeans(4, 3)
    means.update(class_sums(h, label, 4))
    torch.testing.assert_close(means.mean[0], h[[0, 3]].mean(0))
    torch.testing.assert_close(means.mean[2], h[label == 2].mean(0))
    assert not means.mean[[1, 3]].any()


def test_later_batches_weigh_by_age_and_by_their_images() -> None:
    first, second = torch.randn(4, 3), torch.randn(4, 3)
    means = ClassMeans(2, 3, decay=0.5)
    means.update(class_sums(first, torch.zeros(4, dtype=torch.int64), 2))
    means.update(class_sums(second, torch.tensor([0, 1, 1, 1]), 2))
    expected = (0.5 * first.sum(0) + second[0]) / (0.5 * 4 + 1)
    torch.testing.assert_close(means.mean[0], expected)
    before = means.mean[1].clone()
    means.update(class_sums(first, torch.zeros(4, dtype=torch.int64), 2))  # nothing of class 1
    torch.testing.assert_close(means.mean[1], before)


def test_parts_of_a_batch_add_up() -> None:
    h, label = torch.randn(6, 3), torch.arange(6) % 2
    parts = 4 / 6 * class_sums(h[:4], label[:4], 2) + 2 / 6 * class_sums(h[4:], label[4:], 2)
    torch.testing.assert_close(parts, class_sums(h, label, 2))


def test_the_gap_is_of_averages_and_its_gradient_of_the_batch() -> None:
    real, fake = ClassMeans(3, 2), ClassMeans(3, 2)
    both = torch.arange(2)
    real.update(class_sums(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), both, 3))
    fake.update(class_sums(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), both, 3))
    h, label = torch.randn(3, 2, requires_grad=True), torch.tensor([0, 1, 2])
    gap = mean_gap(real, fake, h, label)
    assert gap.tolist() == pytest.approx([0.5, 2.0, 0.0])  # class 2 was never seen
    (slope,) = torch.autograd.grad(gap.sum(), h)
    assert slope.tolist() == [[-1.0, 0.0], [0.0, -2.0], [0.0, 0.0]]


def test_the_gap_of_near_means_is_exact_in_half_precision() -> None:
    """100.25 and 100 are one number of bfloat16: the gradient would be 0."""
    real, fake = ClassMeans(1, 1), ClassMeans(1, 1)
    real.update(torch.tensor([[100.25, 1.0]]))
    fake.update(torch.tensor([[100.0, 1.0]]))
    h = torch.full((2, 1), 100.0, dtype=torch.bfloat16, requires_grad=True)
    gap = mean_gap(real, fake, h, torch.zeros(2, dtype=torch.int64))
    assert gap.tolist() == pytest.approx([0.03125] * 2, rel=1e-3)
    (slope,) = torch.autograd.grad(gap.sum(), h)
    assert slope.tolist() == [[-0.25], [-0.25]]


def test_sums_of_half_precision_are_those_of_the_same_numbers() -> None:
    h, label = torch.randn(300, 3).bfloat16(), torch.arange(300) % 2
    with torch.autocast("cpu", torch.bfloat16):
        found = class_sums(h, label, 2)
    torch.testing.assert_close(found, class_sums(h.float(), label, 2))


def test_decays_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="decay must be in"):
        ClassMeans(2, 2, decay=1.0)
