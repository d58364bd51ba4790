"""One-shot error: by hand, against a slow loop, and wherever the images stand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genlab.contracts import Episodes
from genlab.metrics import Bank, one_shot_error


def bank(features: Tensor, position: Tensor | None = None) -> Bank:
    n = len(features)
    place = torch.arange(n) if position is None else position
    return Bank(features, torch.zeros(n, dtype=torch.int64), place)


def test_by_hand() -> None:
    """Two trials of two classes; lengths do not count, and of equals the first class wins."""
    known = bank(torch.tensor([[1.0, 0.0], [0.0, 9.0], [1.0, 1.0], [1.0, -1.0]]))
    asked = bank(torch.tensor([[5.0, 4.0], [1.0, 2.0], [0.0, 1.0], [1.0, 0.0]]))
    trials = Episodes(
        torch.tensor([[0, 1], [2, 3]]), torch.tensor([[0, 1], [2, 3]]),
        torch.tensor([[0, 1], [0, 1]]), "train", "test",
    )  # fmt: skip
    assert one_shot_error(trials, known, asked).tolist() == [0.0, 0.5]
    swapped = trials._replace(answer=1 - trials.answer)
    assert one_shot_error(swapped, known, asked).tolist() == [1.0, 0.5]


def test_a_slow_loop_agrees() -> None:
    draw = torch.Generator().manual_seed(0)
    known, asked = (bank(torch.randn(30, 5, generator=draw)) for _ in range(2))
    support = torch.stack([torch.randperm(30, generator=draw)[:6] for _ in range(8)])
    query = torch.stack([torch.randperm(30, generator=draw)[:9] for _ in range(8)])
    answer = torch.randint(0, 6, (8, 9), generator=draw)
    slow = []
    for e in range(8):
        wrong = 0
        for q, right in zip(query[e].tolist(), answer[e].tolist(), strict=True):
            cosines = []
            for s in support[e].tolist():
                a, b = asked.features[q].tolist(), known.features[s].tolist()
                dot = sum(x * y for x, y in zip(a, b, strict=True))
                cosines.append(dot / math.hypot(*a) / math.hypot(*b))
            wrong += cosines.index(max(cosines)) != right
        slow.append(wrong / 9)
    found = one_shot_error(Episodes(support, query, answer, "train", "test"), known, asked)
    assert found.tolist() == pytest.approx(slow)
    assert 0.5 < sum(slow) / 8 < 1


def test_images_are_found_by_their_position_not_their_row() -> None:
    features = torch.randn(10, 3, generator=torch.Generator().manual_seed(1))
    position = torch.arange(10) * 7 + 3
    rows = torch.tensor([[4, 0, 9]])
    trials = Episodes(rows, rows, torch.tensor([[0, 1, 2]]), "val", "val")
    far = trials._replace(support=position[rows], query=position[rows])
    assert one_shot_error(trials, bank(features), bank(features)).item() == 0
    assert one_shot_error(far, bank(features, position), bank(features, position)).item() == 0
    with pytest.raises(ValueError, match="features of some images of a one-shot trial are missing"):
        one_shot_error(trials, bank(features, position), bank(features, position))


def test_equal_features_are_chance() -> None:
    rows = torch.arange(20)[None]
    trials = Episodes(rows, rows, rows, "val", "val")
    same = bank(torch.ones(20, 4))
    assert one_shot_error(trials, same, same).item() == pytest.approx(0.95)
