"""SuperResolution: its small copies, its baseline and its gain. The laws are in tests/laws."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import LambdaCallback

from genlab.contracts import Batch
from genlab.data import CIFAR10, MNIST, Digits
from genlab.methods.super_resolution import SuperResolution
from genlab.metrics import ImageError
from tests.callbacks.tiny import trainer
from tests.methods.programs_ssl import CNN
from tests.methods.shortcuts import held_out


def small(**options: Any) -> SuperResolution:
    torch.manual_seed(1)
    return SuperResolution(**CNN | {"decoder_width": 4} | options)


def batch(n: int = 4) -> Batch:
    image = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    return cast(Batch, {"image": image, "index": torch.arange(n), "label": torch.zeros(n)})


def test_the_encoder_sees_the_small_copy_and_features_are_of_the_whole() -> None:
    """SR5."""
    method = small().eval()
    sides: list[int] = []
    first: Any = method.encoder.backbone.get_submodule("0")
    first.register_forward_pre_hook(lambda _, args: sides.append(args[0].shape[-1]))
    method.training_step(batch(), 0)
    method(batch()["image"])
    assert sides == [4, 8]


def test_the_small_copy_is_antialiased_and_of_the_image_as_augmented(tmp_path: Path) -> None:
    """SR2: of a chessboard it is grey; without antialiasing it would be a pattern."""
    method = small()
    board = (torch.arange(8)[:, None] + torch.arange(8)).remainder(2).float().expand(1, 1, 8, 8)
    assert float((method.shrunk(board) - 0.5)[..., 1:3, 1:3].abs().max()) < 0.05
    step, made = board[..., :1, :].expand(1, 1, 8, 8), list[torch.Tensor]()
    aliased = F.interpolate(step, scale_factor=0.5, mode="nearest")
    assert float((method.shrunk(step) - aliased).abs().max()) > 0.4
    given = list[Batch]()
    note = LambdaCallback(on_train_batch_start=lambda t, m, batch, k: given.append(batch))
    normalize: Any = method.encoder.normalize
    normalize.register_forward_pre_hook(lambda _, args: made.append(args[0]))
    augmented = {"translate": 2, "padding": "zeros"}
    data = Digits(batch_size=16, limit=16, val_size=100, augment=augmented)
    trainer(tmp_path, note, max_steps=1, limit_val_batches=0).fit(method, datamodule=data)
    image = given[0]["image"]
    torch.testing.assert_close(made[0], method.shrunk(image))
    whole = data.to_device(data.whole(given[0]["index"]), "cpu")["image"]
    assert not torch.equal(whole, image)


def test_an_untrained_decoder_of_zeros_is_the_baseline() -> None:
    method = small()
    last: Any = method.decoder.layers[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    copy = method.shrunk(batch()["image"])
    assert torch.equal(method.reconstruct_from(copy), method.enlarged(copy))


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_the_loss_is_the_mean_error_of_a_pixel(loss: str) -> None:
    method, image = small(loss=loss), batch()["image"]
    found = method.training_step(batch(), 0)["loss"]
    apart = method.reconstruct_from(method.shrunk(image)) - image
    torch.testing.assert_close(found, (apart.abs() if loss == "l1" else apart**2).mean())


def test_training_gains_over_bicubic_enlargement(tmp_path: Path) -> None:
    method = small(optimizer={"name": "adamw", "lr": 0.01}, decoder_width=16)
    run = trainer(tmp_path, max_epochs=6)
    run.fit(method, datamodule=Digits(batch_size=64, val_size=200))
    found = run.callback_metrics
    assert float(found["val/psnr_baseline"]) == pytest.approx(13.06, abs=0.5)
    assert float(found["val/psnr_gain"]) > 1


def test_pictures_show_input_baseline_target_and_output() -> None:
    shown = small().eval().task_pictures(batch())
    assert [(name, images.shape[-1]) for name, images in shown.items()] == [
        ("input", 4), ("bicubic", 8), ("target", 8), ("output", 8),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "l3"}, "unknown loss 'l3'; choose from l1, l2"),
        ({"factor": 3}, "factor 3 must be 2 or more, divide 8 px and leave at least 4"),
        ({"factor": 1}, "factor 1 must be 2 or more"),
        ({"factor": 4}, "leave at least 4"),
        (
            {"encoder": "vit_tiny_patch16_224", "encoder_kwargs": {"patch_size": 4, "depth": 1}},
            "vit_tiny_patch16_224 cannot take images of 4 px",
        ),
    ],
)
def test_bad_input_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("data", "decibels", "each"),
    [(CIFAR10, 25.39, 26.19), (MNIST, 20.03, None), (Digits, 13.06, None)],
)
def test_bicubic_enlargement_reaches(data: Any, decibels: float, each: float | None) -> None:
    """SR3, SR4: the mean of the images' decibels is another number than that of their error."""
    module = data() if data is Digits else data(download=False)
    try:
        image = held_out(module)
    except ValueError as error:
        pytest.skip(str(error))
    method = small(channels=image.shape[1], image_size=image.shape[2])
    metric, found_each = ImageError(), []
    for one in image.split(200):
        told = method.enlarged(method.shrunk(one))
        metric.update(told, one, told)
        found_each.append(-10 * (told - one).square().flatten(1).mean(1).clamp(min=1e-9).log10())
    found = float(metric.compute()["psnr"])
    assert found == pytest.approx(decibels, abs=0.3)
    mean = float(torch.cat(found_each).mean())
    assert mean > found + 0.1
    assert each is None or mean == pytest.approx(each, abs=0.3)
