"""The judge: right about a perfect, a repeating and a random generator."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.data import Digits
from genlab.evaluate import judge


class Nearest:
    """A classifier by the nearest class mean of the digits; features are the pixels."""

    def __init__(self, data: Digits) -> None:
        batches = [data.to_device(raw) for raw in data.bank_dataloader("train")]
        image = torch.cat([b["image"] for b in batches]).flatten(1)
        label = torch.cat([b["label"] for b in batches])
        self.means = torch.stack([image[label == k].mean(0) for k in range(10)])
        self.image, self.label = image, label

    def __call__(self, image: Tensor) -> Tensor:
        return image.flatten(1)

    def logits(self, image: Tensor) -> Tensor:
        return -torch.cdist(image.flatten(1), self.means)


class Generator:
    """Draws training images: of the class, of any class, or one and the same of the class."""

    num_classes = 10

    def __init__(self, judge: Nearest, kind: str) -> None:
        self.judge, self.kind = judge, kind

    def sample(self, n: int, label: Tensor) -> Tensor:
        rows = []
        for k in label.tolist():
            own = torch.nonzero(self.judge.label == k)[:, 0]
            if self.kind == "any":
                own = torch.arange(len(self.judge.label))
            if self.kind == "repeat":
                distance = torch.cdist(self.judge.image[own], self.judge.means[k : k + 1])
                own = own[distance.argmin()][None]
            rows.append(own[torch.randint(len(own), ())])
        return self.judge.image[torch.stack(rows)].view(-1, 1, 8, 8)


@pytest.fixture(scope="module")
def data() -> Digits:
    return Digits(batch_size=64, val_size=200)


def figures(data: Digits, kind: str) -> dict[str, Any]:
    nearest = Nearest(data)
    return judge(Generator(nearest, kind), nearest, data, samples=500)


def test_real_images_score_like_real_images(data: Digits) -> None:
    found = figures(data, "own")
    assert found["judge/accuracy"] == pytest.approx(found["judge/accuracy_real"], abs=0.06)
    assert found["judge/diversity"] == pytest.approx(found["judge/diversity_real"], rel=0.05)
    assert found["judge/accuracy_worst_class"] <= found["judge/accuracy"]
    assert found["judge/samples"] == 500


def test_a_repeated_image_is_right_but_not_diverse(data: Digits) -> None:
    found = figures(data, "repeat")
    assert found["judge/accuracy"] == 1
    assert found["judge/diversity"] == 0


def test_images_of_any_class_are_right_by_chance(data: Digits) -> None:
    assert figures(data, "any")["judge/accuracy"] < 0.2


def test_a_method_without_classes_is_refused(data: Digits) -> None:
    with pytest.raises(ValueError, match="by class"):
        judge(object(), Nearest(data), data, samples=10)
