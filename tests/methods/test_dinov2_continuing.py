"""Weights of elsewhere, continued: what a run starts from, and what comes out of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from genlab import checkpoints, networks
from genlab.methods.dinov2 import DINOv2
from tests.conftest import Here
from tests.methods.programs_ssl import same_state

NAME = "vit_small_patch14_dinov2"
SMALL: dict[str, Any] = {"embed_dim": 24, "depth": 2, "num_heads": 2}
STATISTICS = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
HEAD: dict[str, Any] = {"projector_dims": [16, 8], "prototypes": 32}


def weights_of_timm(folder: Path, **options: Any) -> tuple[Any, Path]:
    """A ViT for 140 px, 10 x 10 patches, and its file; its tensors are none of a fresh network."""
    torch.manual_seed(5)
    model = timm.create_model(NAME, num_classes=0, img_size=140, **SMALL | options)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    file = folder / "weights.pth"
    torch.save(model.state_dict() | {"mask_token": torch.ones(1, 24)}, file)
    return model, file


def continued(file: Path, **options: Any) -> DINOv2:
    kwargs = SMALL | {"dynamic_img_size": True, "drop_path_rate": 0.1, "normalize": STATISTICS}
    return DINOv2(
        encoder=NAME, image_size=98, encoder_kwargs=kwargs, pretrained=str(file), **HEAD | options
    )


@pytest.mark.filterwarnings("ignore")
def test_the_first_features_are_timms_and_the_teacher_is_the_student(tmp_path: Path) -> None:
    """IB7, IB8."""
    _, file = weights_of_timm(tmp_path)
    method = continued(file, freeze=1).eval()
    theirs: Any = timm.create_model(NAME, num_classes=0, img_size=98, dynamic_img_size=True,
                                    checkpoint_path="", **SMALL)  # fmt: skip
    fitting: Any = timm.models.vision_transformer.checkpoint_filter_fn
    state = torch.load(file, weights_only=True)
    del state["mask_token"]  # timm leaves it out, here it is new
    theirs.load_state_dict(fitting(state, theirs))
    image = torch.rand(2, 3, 98, 98)
    mean, std = (torch.tensor(STATISTICS[key])[:, None, None] for key in ("mean", "std"))
    assert torch.equal(method(image), theirs.eval()((image - mean) / std))
    assert not same_state(method.encoder.state_dict(), method.encoder_ema.state_dict())
    assert not same_state(method.heads.state_dict(), method.heads_ema.state_dict())
    assert not method.mask_token.detach().any()


@pytest.mark.filterwarnings("ignore")
def test_sizes_are_whole_patches_and_registers_are_no_patches(tmp_path: Path) -> None:
    """IB6, IB8."""
    method = networks.encoder("vit_small_patch14_reg4_dinov2", 3, 98, **SMALL)
    seen = method.tokens(torch.rand(1, 3, 98, 98))
    assert (seen.prefix.shape[1], seen.patches.shape[1]) == (5, 49)
    with pytest.raises(ValueError, match=r"100 .* divisible by patch size .14"):
        DINOv2(encoder=NAME, image_size=100, encoder_kwargs=SMALL | {"dynamic_img_size": True},
               **HEAD)  # fmt: skip


def photographs(folder: Path, count: int) -> Path:
    """Some of BSDS300's photographs, in a folder without classes."""
    source = Path(os.environ.get("GENLAB_DATA", "nowhere"), "BSDS300", "images", "train")
    if not source.is_dir():
        pytest.skip("GENLAB_DATA has no BSDS300")
    folder.mkdir()
    for file in sorted(source.glob("*.jpg"))[:count]:
        shutil.copy(file, folder)
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_weights_of_timm_continue_on_photographs_and_go_back_to_timm(
    here: Here, tmp_path: Path
) -> None:
    """From a file of timm's, with views of 98 and 42 px: resumed bit for bit, read by timm."""
    model, file = weights_of_timm(tmp_path)
    words = [
        "dinov2/folder", f"model.pretrained={file}", f"model.encoder={NAME}",
        f"data.root={photographs(tmp_path / 'photographs', 48)}", "data.batch_size=8",
        *(f"model.encoder_kwargs.{key}={value}" for key, value in SMALL.items()),
        "model.encoder_kwargs.normalize={mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}",
        "model.projector_dims=[16, 8]", "model.prototypes=32", "model.freeze_encoder_steps=2",
        "trainer.accelerator=cpu", "track.wandb=off",
    ]  # fmt: skip
    here("fit", *words, "trainer.max_epochs=2", "track.links=3")
    (run,) = here.runs()
    out, _ = here("verify", str(run), "--spot", "2", "--seed", "0")
    assert out.strip().splitlines()[-1].startswith("accepted")
    trained = checkpoints.load(run / "checkpoints" / "last.ckpt")
    own: Any = trained.encoder
    assert not torch.equal(own.backbone.blocks[0].attn.qkv.weight, model.blocks[0].attn.qkv.weight)
    assert torch.equal(own.backbone.patch_embed.proj.weight, model.patch_embed.proj.weight)
    here("export", str(run), "--out", str(tmp_path / "out"))
    back: Any = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True, num_classes=0)
    image = torch.rand(2, 3, 98, 98)
    assert torch.equal(back.eval()(own.normalize(image)), own.eval()(image))
