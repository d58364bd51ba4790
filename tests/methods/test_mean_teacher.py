"""Mean teacher: who learns from whom, the weight's rise, and the average's steps."""

from __future__ import annotations

import math

import pytest
import torch

from genlab import losses
from tests.methods.programs_few_labels import K, M, batch, doubled, small


def test_the_loss_is_that_of_a_slow_reference() -> None:
    method, given = small("mean_teacher", consistency_weight=3.0).double(), doubled(batch())
    image, (weak, strong) = given["labeled"]["image"], given["unlabeled"]["views"]
    for parameter in method.encoder_ema.parameters():
        parameter.mul_(1.1)  # a teacher that is not the student
    out = method.training_step(given, 0)
    scores = method.head(method.encoder(torch.cat([image, strong])))
    student, teacher = scores.softmax(1), method.head_ema(method.encoder_ema(weak)).softmax(1)
    nll = -sum(student[i, i].log() for i in range(K)) / K
    distance = sum((student[K + j, k] - teacher[j, k]) ** 2 for j in range(M) for k in range(K)) / M
    torch.testing.assert_close(out["loss_labeled"].double(), nll, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(out["loss_consistency"].double(), distance, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(out["loss"].double(), nll + 3 * distance, rtol=1e-5, atol=1e-6)


def test_golden_distance() -> None:
    """By hand: softmax of (ln 3, 0) is (.75, .25), of (0, 0) is (.5, .5)."""
    found = losses.probability_distance(torch.tensor([[math.log(3), 0.0]]), torch.zeros(1, 2))
    assert found.tolist() == pytest.approx([0.125])


def test_the_teacher_gets_no_gradient_and_the_student_does() -> None:
    method = small("mean_teacher")
    method.training_step(batch(), 0)["loss"].backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == ("_ema" in name), name


def test_the_teacher_moves_as_the_average_of_the_student() -> None:
    method = small("mean_teacher", ema_decay=0.9)
    start = method.head_ema.weight.clone()
    with torch.no_grad():
        method.head.weight.add_(1.0)
    method.after_step(1)  # 1 - 1 / 2
    torch.testing.assert_close(method.head_ema.weight, start + 0.5)
    method.after_step(1000)
    torch.testing.assert_close(method.head_ema.weight, start + 0.5 + 0.1 * 0.5)


@pytest.mark.parametrize(("step", "share"), [(0, 0.006738), (50, 0.286505), (100, 1), (500, 1)])
def test_the_weight_rises_as_in_the_reference(
    step: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """exp(-5), exp(-5 / 4) and 1: sigmoid_rampup of the reference code at 0, half and the end."""
    method = small("mean_teacher", rampup_steps=100)
    monkeypatch.setattr(type(method), "global_step", step)
    assert method.ramp() == pytest.approx(share, rel=1e-4)


def test_what_is_predicted_is_the_teachers() -> None:
    method = small("mean_teacher").eval()
    image = batch()["labeled"]["image"]
    before = method.logits(image)
    with torch.no_grad():
        for parameter in method.head.parameters():
            parameter.zero_()
    assert torch.equal(method.logits(image), before)
    torch.testing.assert_close(method.head_ema(method(image)), before)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ema_decay": 1.0}, r"ema_decay must be in \[0, 1\)"),
        ({"consistency_weight": -1.0}, "consistency_weight must be at least 0"),
        ({"rampup_steps": -1}, "rampup_steps must be at least 0"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small("mean_teacher", **options)
