"""SplitBrain: halves that see what they need not tell. The laws are in tests/laws."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from genlab import checkpoints, networks
from genlab.augment.lab import lab_to_rgb, rgb_to_lab
from genlab.checkpoints.export.programs import Program, write_torch
from genlab.checkpoints.export.timm_folder import parts_of, write_timm
from genlab.contracts import Batch
from genlab.errors import CheckpointError
from genlab.methods.split_brain import SplitBrain
from genlab.testing.coloured import ColouredDigits
from tests.callbacks.tiny import trainer

SMALL: dict[str, Any] = {
    "image_size": 16, "encoder": "small_cnn", "encoder_kwargs": {"width": 4}, "decoder_width": 4,
}  # fmt: skip


def small(**options: Any) -> SplitBrain:
    torch.manual_seed(1)
    return SplitBrain(**SMALL | options)


def batch(n: int = 4) -> Batch:
    image = torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    found = {"image": image, "index": torch.arange(n), "label": torch.zeros(n), "seed": 5}
    return cast(Batch, found)


def test_neither_half_moves_for_the_others_answer() -> None:
    """SB1."""
    method: Any = small()
    found = method.training_step(batch(), 0)
    halves = method.encoder.backbone
    for loss, own, other in (
        ("loss_colour", halves.lightness, halves.colour),
        ("loss_lightness", halves.colour, halves.lightness),
    ):
        pulls = torch.autograd.grad(
            found[loss], [*other.parameters()], retain_graph=True, allow_unused=True
        )
        assert all(pull is None for pull in pulls)
        pulls = torch.autograd.grad(found[loss], [*own.parameters()], retain_graph=True)
        assert all(bool(pull.any()) for pull in pulls)
    torch.testing.assert_close(found["loss"], found["loss_colour"] + found["loss_lightness"])


def test_a_probe_of_it_has_both_halves(tmp_path: Path) -> None:
    method = small()
    run = trainer(tmp_path, max_steps=1)
    run.fit(method, datamodule=ColouredDigits(batch_size=32, val_size=40))
    run.save_checkpoint(tmp_path / "last.ckpt")
    source = str(tmp_path / "last.ckpt")
    found = checkpoints.backbone_of(source)
    assert found is not None
    probe = networks.encoder(found["encoder"], 3, 16, source, **found["encoder_kwargs"])
    assert torch.equal(probe.eval()(batch()["image"]), method.eval()(batch()["image"]))


def test_another_network_is_told_that_the_halves_are_one_and_can_take_a_part(
    tmp_path: Path,
) -> None:
    method = small()
    run = trainer(tmp_path, max_steps=1)
    run.fit(method, datamodule=ColouredDigits(batch_size=32, val_size=40))
    run.save_checkpoint(tmp_path / "last.ckpt")
    source = str(tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match=r"is of .*SplitBackbone, of which several parts fit"):
        networks.encoder("small_cnn", 3, 16, source, width=4)
    part = {"prefix": "state_dict/encoder.backbone.lightness."}
    options: dict[str, Any] = {"width": 4, "lightness": True, "normalize": {"mean": 0, "std": 1}}
    half = networks.encoder("small_cnn", 3, 16, source, part, **options).eval()
    expected = method.eval()(batch()["image"])[:, :64]
    torch.testing.assert_close(half(batch()["image"]), expected)


def test_an_export_names_the_halves(tmp_path: Path) -> None:
    method, image = small().eval(), batch()["image"]
    parts = parts_of(method)
    write_torch(parts, tmp_path, Program(parts.encoder, None))
    found: Any = checkpoints.backbone_of(str(tmp_path))
    again = networks.encoder(found["encoder"], 3, 16, str(tmp_path), **found["encoder_kwargs"])
    torch.testing.assert_close(again.eval()(image), method(image))
    with pytest.raises(CheckpointError, match="is not registered with timm"):
        write_timm(parts, tmp_path)


def test_no_half_sees_what_it_tells() -> None:
    method = small()
    lab = rgb_to_lab(batch()["image"] * 0.4 + 0.3)
    darker = lab.clone()
    darker[:, 0] -= 10 * torch.rand(4, 16, 16)
    colour, lightness = method.predict(lab_to_rgb(lab))
    other_colour, other_lightness = method.predict(lab_to_rgb(darker))
    torch.testing.assert_close(other_lightness, lightness, atol=5e-3, rtol=5e-3)
    assert bool(((other_colour - colour).abs() > 0.1).any())


def test_batch_norm_mixes_no_halves_and_evaluation_feeds_both() -> None:
    """SB2, SB3."""
    method = small()
    norms = {name for name, _ in method.named_buffers() if name.endswith("running_mean")}
    assert norms
    parts = ("encoder.backbone.lightness", "encoder.backbone.colour", "tell_")
    assert all(name.startswith(parts) for name in norms)
    found = method.eval().validation_step(batch(), 0)["feature"]
    assert found.shape == (4, 128)
    for half in found.split(64, 1):
        assert bool((half.std(0) > 0).any())


def test_pictures_show_what_each_half_sees_and_makes() -> None:
    shown = small().eval().task_pictures(batch())
    assert list(shown) == ["L", "predicted ab", "target", "ab", "predicted L"]
    assert torch.equal(shown["target"], batch()["image"])
    assert all(0 <= float(x.min()) <= float(x.max()) <= 1 for x in shown.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 1}, "require images of 3 channels, not 1: grey images have no colour"),
        ({"neighbours": 0}, "neighbours 0 and stride 1 must be at least 1"),
        ({"stride": 17}, "stride 17 must be"),
        (
            {"encoder_kwargs": {"width": 4, "normalize": {"mean": 0.5, "std": 0.2}}},
            "SplitBrain cannot be combined with encoder_kwargs.normalize",
        ),
    ],
)
def test_bad_input_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)
