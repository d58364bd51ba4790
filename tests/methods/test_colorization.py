"""Colorization: what the encoder sees, what weighs, and when it moves. Laws: tests/laws."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from genlab import checkpoints, networks
from genlab.augment.lab import lab_to_rgb, rgb_to_lab
from genlab.checkpoints.export.programs import Program, write_torch
from genlab.checkpoints.export.timm_folder import parts_of, write_timm
from genlab.contracts import Batch
from genlab.errors import CheckpointError
from genlab.methods.colorization import Colorization
from genlab.methods.linear import LinearProbe
from genlab.testing.coloured import ColouredDigits
from tests.callbacks.tiny import trainer

SMALL: dict[str, Any] = {
    "image_size": 16, "encoder": "small_cnn", "encoder_kwargs": {"width": 4}, "decoder_width": 4,
    "optimizer": {"name": "torch.sgd", "lr": 0.01},
}  # fmt: skip


def small(**options: Any) -> Colorization:
    torch.manual_seed(1)
    return Colorization(**SMALL | options)


def batch(n: int = 4) -> Batch:
    image = torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    found = {"image": image, "index": torch.arange(n), "label": torch.zeros(n), "seed": 5}
    return cast(Batch, found)


def test_the_encoder_sees_lightness_alone() -> None:
    """CO4."""
    method, seen = small(), list[Tensor]()
    first: Any = method.encoder.backbone.get_submodule("0")
    first.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    method.training_step(batch(), 0)
    lab = rgb_to_lab(batch()["image"])
    torch.testing.assert_close(seen[0], lab[:, :1] / 100)
    dull = lab_to_rgb(torch.cat([lab[:, :1], 0 * lab[:, 1:]], 1))
    method.eval()
    torch.testing.assert_close(method(dull), method(batch()["image"]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("target", ["bins", "regression"])
def test_images_without_colour_count_nothing(target: str) -> None:
    method, given = small(target=target).eval(), batch()
    given["image"][1:] = given["image"][1:, :1]
    whole = method._loss(method.predict_ab(given["image"]), rgb_to_lab(given["image"])[:, 1:])
    first = given["image"][:1]
    alone = method._loss(method.predict_ab(first), rgb_to_lab(first)[:, 1:])
    torch.testing.assert_close(4 * whole["loss"], alone["loss"])


def test_a_batch_counts_once_however_often_its_loss_is_computed() -> None:
    method = small()
    for _ in range(2):  # as SAM does in one step
        method.training_step(batch(), 0)
    method.training_step(batch(), 1)
    method.after_step()
    assert int(method.counts.sum()) == 2 * 4 * 16 * 16


def test_rare_colours_weigh_more() -> None:
    method, given = small(), batch()
    found = method.training_step(given, 0)
    torch.testing.assert_close(found["loss"], found["task_nll"])  # nothing is known yet
    counts = method.pending.take()[0].sum(0)
    method.pending.put(0, counts[None])
    method.after_step()
    assert torch.equal(method.counts, counts)
    assert int(counts.sum()) == 4 * 16 * 16
    method.counts[counts.argmax()] += 10**6  # what most pixels have had
    found = method.training_step(given, 0)
    assert bool(found["loss"] > 1.5 * found["task_nll"])
    plain = small(rebalance=1.0)
    plain.counts.copy_(method.counts)
    found = plain.training_step(given, 0)
    torch.testing.assert_close(found["loss"], found["task_nll"])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_frequencies_move_once_per_step_and_never_in_validation(
    accumulate: int, tmp_path: Path
) -> None:
    method, seen = small(), list[int]()
    data = ColouredDigits(batch_size=32, limit=128, val_size=40)
    after = method.after_step

    def watched() -> None:
        after()
        seen.append(int(method.counts.sum()))

    method.after_step = watched  # type: ignore[method-assign]
    run = trainer(tmp_path, max_epochs=1, accumulate_grad_batches=accumulate)
    run.fit(method, datamodule=data)
    pixels = 32 * 16 * 16
    assert seen == [pixels, 2 * pixels, 3 * pixels, 4 * pixels]
    assert not method.pending
    assert "val/psnr_gain" in run.callback_metrics
    method.pending.put(0, method.counts[None])
    method.on_step_skipped()
    method.after_step()
    assert seen[-1] == 4 * pixels


def test_pictures_keep_the_lightness() -> None:
    method = small().eval()
    shown = method.task_pictures(batch())
    assert shown["input"].shape == (4, 1, 16, 16)
    told = rgb_to_lab(shown["output"])[:, 0]
    inside = ((shown["output"] - 0.5).abs() < 0.499).all(1)
    asked = rgb_to_lab(batch()["image"])[:, 0]
    torch.testing.assert_close(told[inside], asked[inside], atol=0.1, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 1}, "requires images of 3 channels, not 1: grey images have no colour"),
        ({"target": "hue"}, "unknown target 'hue'; choose from bins, regression"),
        ({"rebalance": 2.0}, r"rebalance 2.0 must be in 0 \.\.\. 1"),
        ({"neighbours": 0}, "neighbours 0 must be at least 1"),
        ({"stride": 0}, "stride 0 must be in"),
    ],
)
def test_bad_input_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)


def run(method: Any, folder: Path) -> str:
    held = {"state_dict": method.state_dict(), "hyper_parameters": dict(method.hparams)}
    torch.save(held | {"genlab": {}}, folder / "run.ckpt")
    return str(folder / "run.ckpt")


def test_what_takes_the_encoder_sees_lightness_too(tmp_path: Path) -> None:
    method, image = small().eval(), batch()["image"]
    source = run(method, tmp_path)
    told: Any = checkpoints.backbone_of(source)
    assert told["encoder_kwargs"] == {"width": 4, "lightness": True}
    probe = LinearProbe(image_size=16, pretrained=source, **told).eval()
    torch.testing.assert_close(probe(image), method(image))
    with pytest.warns(UserWarning, match="lightness gives other features .* lightness=True"):
        LinearProbe(image_size=16, pretrained=source, encoder="small_cnn",
                    encoder_kwargs={"width": 4})  # fmt: skip
    with pytest.raises(ValueError, match="lightness requires images of 3 channels, not 1"):
        networks.encoder("small_cnn", 1, 16, lightness=True)


def test_programs_take_colours_and_timm_is_refused(tmp_path: Path) -> None:
    method = small(encoder="resnet10t", encoder_kwargs={}, image_size=32).eval()
    parts, image = parts_of(method), torch.rand(2, 3, 32, 32)
    with pytest.raises(CheckpointError, match="timm cannot give a network lightness alone"):
        write_timm(parts, tmp_path)
    write_torch(parts, tmp_path, Program(parts.encoder, None))
    program: Any = torch.export.load(tmp_path / "model.pt2").module()
    torch.testing.assert_close(program(image)[0], method(image))
    told: Any = checkpoints.backbone_of(str(tmp_path))
    again = networks.encoder(told["encoder"], 3, 32, str(tmp_path), **told["encoder_kwargs"])
    torch.testing.assert_close(again.eval()(image), method(image))
