"""Refusals of sizes, folders and batches: before a run begins, with their place and a way out."""

from __future__ import annotations

import pytest

from tests.conftest import Here

VIT = "model.encoder=vit_tiny_patch16_224"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "barlow_twins/digits model.chunks=3 model.bn_splits=3",
            "bn_splits 3 does not divide the",
        ),
        ("simclr/imagenet100 data.root=empty", "(looked for .jpg, .jpeg, .png,"),
        ("simclr/imagenet100 data.root=empty", "in the command line, data.root"),
        ("jigsaw/fashion_mnist data=Digits", "images of 16 px are the smallest"),
        ("jigsaw/fashion_mnist data=Digits", "in the command line, data"),
        ("simclr/folder", "your own pictures: simclr/imagenet100 data.root=DIR"),
        (
            f"dinov2/folder {VIT} model.pretrained=false",
            "by patch size (16); 96 or 112 px are whole patches",
        ),
    ],
)
def test_a_wrong_setting_is_refused_before_a_run_begins(words: str, said: str, here: Here) -> None:
    (here.folder / "empty").mkdir(exist_ok=True)
    _, err = here("fit", *words.split(), "track.wandb=off", code=2)
    assert said in err
    assert not (here.folder / "runs").exists()
