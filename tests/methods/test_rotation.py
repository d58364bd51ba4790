"""Rotation: four copies in one step, and what would give the answer away. Laws: tests/laws."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback
from torch import Tensor

from genlab import losses
from genlab.augment.pretext.rotation import quarter_turns
from genlab.contracts import Batch
from genlab.data import CIFAR10, MNIST, Digits, Images
from genlab.methods.rotation import Rotation
from tests.callbacks.tiny import trainer
from tests.methods.programs_ssl import CNN
from tests.methods.shortcuts import held_out, ridge_accuracy, row_and_column_means


def small(**options: Any) -> Rotation:
    torch.manual_seed(1)
    return Rotation(**CNN | options)


def batch(n: int = 6) -> Batch:
    image = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    return cast(Batch, {"image": image, "index": torch.arange(n), "label": torch.zeros(n)})


def test_all_four_copies_are_in_one_step() -> None:
    """RO3."""
    method, seen = small(), list[Tensor]()
    method.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    found = method.training_step(batch(), 0)
    assert [len(images) for images in seen] == [24]
    assert torch.equal(seen[0], quarter_turns(batch()["image"]))
    logits = method.head(method.encoder(seen[0]))
    target = torch.tensor(6 * [0] + 6 * [1] + 6 * [2] + 6 * [3])
    torch.testing.assert_close(found["loss"], losses.task_nll(logits, target)["loss"])


def test_the_turn_comes_last_and_is_of_what_the_network_sees(tmp_path: Path) -> None:
    """PT3: after flip and translation, with no value that the image has not."""
    given, seen, method = list[Batch](), list[Tensor](), small()
    note = LambdaCallback(on_train_batch_start=lambda t, m, batch, k: given.append(batch))
    method.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    augment = {"flip": True, "translate": 1, "padding": "zeros"}
    data = Digits(batch_size=16, limit=16, val_size=100, augment=augment)
    trainer(tmp_path, note, max_steps=1, limit_val_batches=0).fit(method, datamodule=data)
    image = given[0]["image"]
    assert torch.equal(seen[0], quarter_turns(image))
    whole = data.to_device(data.whole(given[0]["index"]), "cpu")["image"]
    assert not torch.equal(whole, image)
    for turned in seen[0].split(16):
        assert torch.equal(turned.flatten(1).sort(1)[0], image.flatten(1).sort(1)[0])


def test_features_of_validation_are_those_of_upright_images() -> None:
    method = small().eval()
    found = method.validation_step(batch(), 0)
    torch.testing.assert_close(found["feature"], method(batch()["image"]))
    assert float(found["task_chance"]) == 0.25


def test_a_right_answer_turns_the_image_back() -> None:
    method = small().eval()
    shown = method.task_pictures(batch())
    assert list(shown) == ["input", "target", "output"]
    method.head.weight.data.zero_()
    method.head.bias.data.copy_(torch.tensor([0.0, 9.0, 0.0, 0.0]))  # always a quarter
    shown = method.task_pictures(batch())
    assert torch.equal(shown["output"][1], shown["target"][1])
    assert not torch.equal(shown["output"][0], shown["target"][0])


@pytest.mark.parametrize("name", ["rotate", "shear"])
def test_augmentation_that_tells_the_turn_is_refused(name: str, tmp_path: Path) -> None:
    """RO4, RO5, VW5."""
    data = Digits(batch_size=32, val_size=100, augment={name: 10})
    with pytest.raises(ValueError, match=rf"cannot be combined with data\.augment\.{name}:"):
        trainer(tmp_path, max_steps=1).fit(small(), datamodule=data)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "options", "share"),
    [
        (Digits, {"val_size": 200}, 0.682),
        pytest.param(MNIST, {"download": False}, 0.942, marks=pytest.mark.slow),
        pytest.param(CIFAR10, {"download": False}, 0.470, marks=pytest.mark.slow),
    ],
)
def test_means_of_rows_and_columns_alone_tell_the_turn(
    kind: type[Images], options: dict[str, Any], share: float
) -> None:
    """PT2: the share that no network has to be praised for; chance is 0.25."""
    try:
        data = kind(**options)
        parts = [held_out(data, 6000, "train"), held_out(data)]
    except ValueError as error:
        pytest.skip(str(error))
    known, asked = (
        (row_and_column_means(quarter_turns(image)), torch.arange(4).repeat_interleave(len(image)))
        for image in parts
    )
    assert ridge_accuracy(known, asked) == pytest.approx(share, abs=0.04)
