"""``genlab pack``, and a recipe that trains on what it makes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.conftest import Here
from tests.data.test_image_folder import break_some, classes


@pytest.fixture
def tree(here: Here) -> Path:
    return classes(here.folder / "photos", 12)


def test_pack_says_what_it_made_and_checks_it(here: Here, tree: Path) -> None:
    out, _ = here("pack", "photos", "shards", "--size", "0.02")
    assert "train: 24 images, 3 shards" in out
    assert "data.root=shards" in out
    assert out.startswith("crops lose nothing: images keep all their pixels")
    out, _ = here("pack", "photos", "small", "--resize", "8")
    assert "of images are scaled down: crops of 8% of the area are 3 pixels" in out.splitlines()[0]
    out, _ = here("pack", "--check", "shards")
    assert "shards: all 24 images are as they were packed" in out
    file = here.folder / "shards" / "train-000001.tar"
    content = bytearray(file.read_bytes())
    content[700] ^= 1
    file.write_bytes(content)
    _, err = here("pack", "--check", "shards", code=2)
    assert err == "genlab: shard shards/train-000001.tar is damaged: not index.json's SHA-256\n"


def test_what_is_wrong_is_said_in_a_line(here: Here, tree: Path) -> None:
    break_some(tree)
    (tree / "cat" / "gone.png").symlink_to("/nowhere/x.png")
    (here.folder / "full").mkdir()
    (here.folder / "full" / "x").touch()
    for words, message in (
        (("photos",), "genlab pack SOURCE SHARDS makes shards"),
        (("photo", "s"), "nearest in"),
        (("photos", "full"), "full exists and is not empty"),
        (
            ("photos", "s", "--split", "tain"),
            "unknown --split 'tain'; choose from train, val, test",
        ),
        (("photos", "s", "--size", "0"), "size 0.0 must be more than 0 megabytes"),
        (("photos", "s"), "--skip-broken leaves such images out"),
        (("photos", "full/x/s"), "cannot pack into full/x/s"),
        (("--check", "photos"), "no index.json in photos"),
    ):
        _, err = here("pack", *words, code=2)
        assert message in err
        assert len(err.splitlines()) <= 2
    assert not (here.folder / "s").exists()
    _, err = here("pack", "photos", "/proc/shards", code=1)  # makes no folders
    assert err.startswith("genlab: cannot pack into /proc/shards: ")
    assert len(err.splitlines()) == 1
    out, _ = here("pack", "photos", "s", "--skip-broken")
    assert "train: 22 images" in out
    assert "left out 3 that cannot be read; first: " in out


def test_names_that_are_not_utf_8_are_packed(here: Here, tree: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    (tree / "cat" / name).write_bytes(next((tree / "cat").glob("*.png")).read_bytes())
    out, _ = here("pack", "photos", "shards")
    assert "train: 25 images" in out


def test_a_recipe_for_folders_trains_on_shards(here: Here, tree: Path) -> None:
    here("pack", "photos", "shards", "--resize", "16")
    here(
        "fit", "simclr/imagenet100", "data.root=shards", "data.order=shards", "data.batch_size=8",
        "data.workers=0", "data.image_size=16", "data.val_size=4", "data.eval_batch_size=4",
        "model.encoder=small_cnn", "model.encoder_kwargs=null", "model.projector_dims=[8, 8]",
        "trainer.max_epochs=1", "trainer.precision=32", "trainer.accelerator=cpu",
        "track.wandb=off",
    )  # fmt: skip
    [run] = here.runs()
    assert json.loads((run / "metrics.json").read_text())["step"] == 2
