"""Normalisation of each image by itself goes wherever the encoder goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab import networks
from genlab.augment.pretext.tiles import standardised
from genlab.checkpoints.export.model_card import Origin, card
from genlab.checkpoints.export.programs import Program, write_torch
from genlab.checkpoints.export.timm_folder import parts_of, write_timm
from genlab.errors import CheckpointError
from genlab.methods.jigsaw import Jigsaw
from genlab.methods.linear import LinearProbe
from genlab.methods.relative_position import RelativePosition
from genlab.networks.encoders.normalization import Normalize

OWN = {"per_image": True}
CNN: dict[str, Any] = {"encoder": "small_cnn", "encoder_kwargs": {"width": 4}}


def image() -> Tensor:
    drawn = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    return drawn * torch.tensor([0.2, 0.5, 1.0])[:, None, None, None]


def jigsaw(**options: Any) -> Jigsaw:
    torch.manual_seed(1)
    return Jigsaw(**{**CNN, "head_dims": [8]} | options).eval()


def run(method: Any, folder: Path) -> str:
    held = {"state_dict": method.state_dict(), "hyper_parameters": dict(method.hparams)}
    torch.save(held | {"genlab": {}}, folder / "run.ckpt")
    return str(folder / "run.ckpt")


def test_each_image_has_its_own_numbers() -> None:
    found = Normalize(3, per_image=True)(image())
    torch.testing.assert_close(found.mean((2, 3)), torch.zeros(3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.square().mean((2, 3)), torch.ones(3, 3))
    with pytest.raises(ValueError, match="per_image cannot be combined with mean and std"):
        Normalize(3, 0.5, 1.0, per_image=True)


@pytest.mark.parametrize("numbers", [{}, {"mean": [0.1, 0.2, 0.3], "std": 0.5}, OWN])
def test_an_image_comes_back(numbers: dict[str, Any]) -> None:
    normalize = Normalize(3, **numbers)
    flat = image()
    flat[0, 1] = 0.25
    for given in (image(), flat):
        torch.testing.assert_close(normalize.undone(normalize(given), given), given)


@pytest.mark.parametrize("kind", [Jigsaw, RelativePosition])
def test_what_takes_the_encoder_standardises_as_the_method_does(kind: Any) -> None:
    torch.manual_seed(1)
    method = kind(**CNN).eval()
    expected = method.encoder.backbone(standardised(image()))
    torch.testing.assert_close(method(image()), expected)
    torch.testing.assert_close(method.encoder(image()), expected)
    with pytest.raises(ValueError, match=r"cannot be combined with encoder_kwargs.normalize"):
        kind(encoder="small_cnn", encoder_kwargs={"normalize": {"mean": 0.5, "std": 0.2}})


def test_probes_and_their_checkpoints_standardise_as_the_run_does(tmp_path: Path) -> None:
    method = jigsaw()
    probe = LinearProbe(pretrained=run(method, tmp_path), **CNN).eval()
    torch.testing.assert_close(probe(image()), method(image()))
    assert "normalised each by its own mean and std" in str(probe.encoder.report)
    again = LinearProbe(**CNN).eval()
    again.load_state_dict(probe.state_dict())
    torch.testing.assert_close(again(image()), method(image()))
    plain = LinearProbe(pretrained=run(jigsaw(normalize_tiles=False), tmp_path), **CNN)
    assert not plain.encoder.normalize.per_image


def test_a_checkpoint_that_does_not_say_it_leaves_the_method_its_own() -> None:
    method = jigsaw()
    old = {name: x for name, x in method.state_dict().items() if not name.endswith("normalize.own")}
    assert len(old) == len(method.state_dict()) - 1
    method.load_state_dict(old)
    assert method.encoder.normalize.per_image


def test_programs_standardise_and_timm_is_refused(tmp_path: Path) -> None:
    method = jigsaw(encoder="resnet10t", encoder_kwargs={})
    parts = parts_of(method)
    with pytest.raises(CheckpointError, match="timm cannot standardise each image by itself"):
        write_timm(parts, tmp_path)
    write_torch(parts, tmp_path, Program(parts.encoder, None))
    program: Any = torch.export.load(tmp_path / "model.pt2").module()
    torch.testing.assert_close(program(image())[0], method(image()))
    again = networks.encoder("resnet10t", 3, 32, pretrained=str(tmp_path)).eval()
    torch.testing.assert_close(again(image()), method(image()))
    assert "each image by its own mean" in card(parts, Origin("Jigsaw"), "torch", "mit")
