"""DINO's loss, centre and temperatures: values on paper, slow forms, half precision, two ranks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genlab import losses
from tests.conftest import TwoRanks
from tests.losses.golden_embeddings import x


def slow(scores: list[Tensor], taught: list[Tensor], centre: Tensor, temperature: float) -> float:
    """Number by number, after the paper's algorithm 1."""
    total, pairs, count = 0.0, 0, len(centre)
    for i, t in enumerate(taught):
        for v, s in enumerate(scores):
            if i == v:
                continue
            pairs += 1
            for b in range(len(t)):
                q = [math.exp(float(t[b, k] - centre[k]) / temperature) for k in range(count)]
                p = [math.exp(float(s[b, k]) / 0.1) for k in range(count)]
                total -= sum(
                    q[k] / sum(q) * math.log(p[k] / sum(p)) for k in range(count)
                ) / len(t)  # fmt: skip
    assert pairs == 2 * (len(scores) - 1)
    return total / pairs


def two_steps(decay: float) -> list[tuple[float, float, float]]:
    """Loss, norm of its gradient and norm of the centre after it, of two steps."""
    centre, found = torch.zeros(16, dtype=torch.float64), []
    for t in (0, 1):
        scores = [x(10 * t + k, 8, 16).requires_grad_() for k in range(4)]
        taught = [x(10 * t + 5, 8, 16), x(10 * t + 6, 8, 16)]
        targets = {i: losses.centred_target(one, centre, 0.04) for i, one in enumerate(taught)}
        loss = losses.swapped_prediction(scores, targets, 0.1)
        assert float(loss.detach()) == pytest.approx(
            slow([s.detach() for s in scores], taught, centre, 0.04), abs=1e-9
        )
        norm = torch.cat(torch.autograd.grad(loss, scores)).norm()
        seen = losses.score_total(torch.cat(taught))[None]
        centre = losses.moved_centre(centre, seen, decay if t == 0 else 0.9)
        found.append((float(loss.detach()), float(norm), float(centre.norm())))
    return found


def test_values_of_the_reference_with_a_centre_that_moves_after_the_loss() -> None:
    """DI1."""
    first, second = two_steps(0.9)
    assert first == pytest.approx((14.917146338298, 1.378891579582, 0.088098819552), abs=1e-9)
    assert second == pytest.approx((15.099525627909, 1.412664713826, 0.046173475792), abs=1e-9)


def test_a_first_update_that_takes_the_batchs_mean_whole_is_another_method() -> None:
    """DI2: as stable-pretraining has it: norm of the centre .881, second loss 14.9400."""
    first, second = two_steps(0.0)
    assert first[2] == pytest.approx(0.88098819552, abs=1e-9)
    assert second[0] == pytest.approx(14.9400, abs=5e-5)


def test_accumulated_batches_move_the_centre_once_by_their_mean() -> None:
    centre, rows = x(0, 1, 16)[0], x(1, 8, 16)
    together = losses.moved_centre(centre, losses.score_total(rows)[None], 0.9)
    parts = torch.stack([losses.score_total(part) for part in rows.split([5, 3])])
    torch.testing.assert_close(losses.moved_centre(centre, parts, 0.9), together)
    torch.testing.assert_close(together, 0.9 * centre + 0.1 * rows.mean(0))


def test_only_rows_that_count_move_the_centre() -> None:
    centre, rows = x(0, 1, 16)[0], x(1, 8, 16)
    counted = torch.arange(8) < 5
    found = losses.moved_centre(centre, losses.score_total(rows, counted)[None], 0.9)
    torch.testing.assert_close(found, 0.9 * centre + 0.1 * rows[:5].mean(0))
    nothing = losses.score_total(rows, torch.zeros(8, dtype=torch.bool))
    assert torch.equal(losses.moved_centre(centre, nothing[None], 0.9), centre)


def test_two_ranks_equal_one(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.losses.programs_self_distillation:distilled", atol=1e-12)


def test_temperatures_of_a_warm_up_of_five_epochs() -> None:
    """DI7."""
    found = [losses.warmed_temperature(0.04, 0.07, 5, epoch) for epoch in range(7)]
    assert found == pytest.approx([0.04, 0.0475, 0.055, 0.0625, 0.07, 0.07, 0.07])
    assert losses.warmed_temperature(None, 0.04, 5, 0) == 0.04
    assert [losses.warmed_temperature(0.04, 0.07, 1, epoch) for epoch in (0, 1)] == [0.04, 0.07]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_as_good_as_its_inputs(kind: torch.dtype) -> None:
    scores, taught = [x(k, 8, 16).to(kind) for k in range(2)], x(5, 8, 16).to(kind)
    centre = torch.zeros(16)
    found, exact = (
        losses.swapped_prediction(
            [s.to(to) for s in scores], {0: losses.centred_target(taught.to(to), centre, 0.04)}
        )
        for to in (kind, torch.float64)
    )
    assert float(found) == pytest.approx(float(exact), abs=1e-4)


def test_the_loss_is_entropy_plus_divergence() -> None:
    scores, uniform = [torch.zeros(2, 5)] * 2, torch.full((2, 5), 0.2)
    loss = losses.swapped_prediction(scores, {0: uniform})
    found = losses.information(loss, uniform)
    assert float(found["teacher_entropy"]) == pytest.approx(math.log(5))
    assert float(found["divergence"]) == pytest.approx(0, abs=1e-6)
    single = torch.nn.functional.one_hot(torch.tensor([1, 1]), 5).float()
    sure = [single * 100] * 2
    found = losses.information(losses.swapped_prediction(sure, {0: single}), single)
    assert [float(v) for v in found.values()] == pytest.approx([0, 0], abs=1e-6)


def test_targets_have_no_gradient() -> None:
    taught = x(5, 8, 16).requires_grad_()
    assert not losses.centred_target(taught, torch.zeros(16), 0.04).requires_grad


def test_what_cannot_be_compared_is_refused() -> None:
    one = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="views are too few"):
        losses.swapped_prediction([one], {0: one})
    with pytest.raises(ValueError, match="temperature 0 must be above 0"):
        losses.swapped_prediction([one, one], {0: one}, 0)
    with pytest.raises(ValueError, match="teacher_temperature 0 must be above 0"):
        losses.centred_target(one, one[0], 0)


def hidden_patches() -> tuple[Tensor, Tensor, Tensor]:
    """Student's and teacher's scores (2 views x 4 images, 9, 16), and which patches are masked."""
    student, teacher = (
        torch.stack([x(first + k + 0.37 * b, 9, 16) for k in (0, 1) for b in range(4)])
        for first in (20, 30)
    )
    masked = torch.tensor(
        [[(3 * t + 5 * b + k) % 4 == 0 for t in range(9)] for k in (0, 1) for b in range(4)]
    )
    masked[7] = False
    return student.requires_grad_(), teacher, masked


def test_patches_are_averaged_within_their_image_first() -> None:
    """IB1."""
    student, teacher, masked = hidden_patches()
    targets = losses.centred_target(teacher[masked], torch.zeros(16), 0.04)
    weights = losses.patch_weights(masked)[masked]
    loss = losses.masked_distillation(student[masked], targets, weights, 0.1)
    (gradient,) = torch.autograd.grad(loss, student)
    assert float(loss.detach()) == pytest.approx(16.449751073460, abs=1e-6)
    assert float(gradient.norm()) == pytest.approx(2.006027967756, abs=1e-6)
    total = 0.0
    for k in range(8):
        q = losses.centred_target(teacher[k][masked[k]], torch.zeros(16), 0.04)
        terms = -(q * (student.detach()[k][masked[k]] / 0.1).log_softmax(1)).sum(1)
        total += float(terms.mean()) / 8 if len(terms) else 0.0
    assert float(loss.detach()) == pytest.approx(total, abs=1e-6)


def test_a_mean_over_all_tokens_is_another_loss() -> None:
    """IB1: as stable-pretraining has it: 18.7782."""
    student, teacher, masked = hidden_patches()
    targets = losses.centred_target(teacher[masked], torch.zeros(16), 0.04)
    even = torch.full((int(masked.sum()),), 1 / int(masked.sum()))
    loss = losses.masked_distillation(student[masked], targets, even, 0.1)
    assert float(loss.detach()) == pytest.approx(18.7782, abs=1e-4)


def test_rows_without_a_weight_add_nothing() -> None:
    student, teacher, masked = hidden_patches()
    every = losses.centred_target(teacher.flatten(0, 1), torch.zeros(16), 0.04)
    weights = losses.patch_weights(masked).flatten()
    loss = losses.masked_distillation(student.flatten(0, 1), every, weights, 0.1)
    assert float(loss.detach()) == pytest.approx(16.449751073460, abs=1e-5)
