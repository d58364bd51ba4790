"""Results of a pretext task that is a choice."""

from __future__ import annotations

import math

import pytest
import torch

from genlab import losses


def test_guessing_costs_log_k_and_is_right_by_chance() -> None:
    target = torch.arange(8) % 4
    found = losses.task_nll(torch.zeros(8, 4), target)
    assert float(found["loss"]) == pytest.approx(math.log(4))
    assert float(found["task_accuracy"]) == float(found["task_chance"]) == 0.25


def test_it_is_the_cross_entropy_in_double_and_an_island_in_half() -> None:
    logits, target = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 2, 1, 1, 0, 2])
    found = losses.task_nll(logits, target)["loss"]
    slow = -sum(logits[i].log_softmax(0)[t] for i, t in enumerate(target)) / 6
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, slow)
    with torch.autocast("cpu", torch.bfloat16):
        half = losses.task_nll(logits.half(), target)["loss"]
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), found, rtol=1e-2, atol=1e-2)
