"""Runs whose weights or files are broken, or data without labels: refused, or told in words."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.conftest import Here
from tests.fake_data import digits

MORE = ("trainer.max_steps=12",)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images in two classes, others in none, and a run of eight steps."""
    import genlab

    home = tmp_path_factory.mktemp("broken")
    for k, image in enumerate(digits(8)[0][:60]):
        for place in (f"sorted/{'ab'[k % 2]}", "flat"):
            (home / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(home / place / f"{k:02}.png")
    settings = {
        "data": "ImageFolder", "data.root": str(home / "sorted"), "data.image_size": 8,
        "data.channels": 1, "data.batch_size": 8, "data.val_size": 10, "trainer.max_steps": 8,
        "track.wandb": "off", "track.runs": str(home / "runs"),
    }  # fmt: skip
    genlab.fit("classifier/digits", settings)
    return home


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    original = next((trained / "runs").glob("**/recipe.yaml")).parent
    return Path(shutil.copytree(original, tmp_path / "runs" / "classifier" / "digits" / "r"))


def spoil(file: Path) -> None:
    content = torch.load(file, weights_only=True)
    next(iter(content["state_dict"].values())).fill_(float("nan"))
    torch.save(content, file)


@pytest.mark.parametrize("command", ["test", "validate", "evaluate"])
def test_a_classifier_is_not_measured_without_labels(
    command: str, run: Path, trained: Path, here: Here
) -> None:
    _, told = here(command, str(run), f"data.root={trained / 'flat'}", code=2)
    assert f"image of {trained / 'flat'} has one" in told


@pytest.mark.parametrize("command", ["test", "predict", "embed"])
def test_weights_that_are_not_finite_are_not_measured(command: str, run: Path, here: Here) -> None:
    spoil(run / "checkpoints" / "best.ckpt")
    _, told = here(command, str(run), code=2)
    assert "best.ckpt holds weights that are not finite" in told


def test_a_training_does_not_go_on_from_weights_that_are_not_finite(run: Path, here: Here) -> None:
    spoil(run / "checkpoints" / "last.ckpt")
    before = (run / "recipe.yaml").read_bytes()
    _, told = here("fit", "--resume", str(run), *MORE, code=2)
    assert "not finite, first " in told
    assert "to go on from best.ckpt, move it away" in told
    assert (run / "recipe.yaml").read_bytes() == before


def test_a_damaged_checkpoint_that_is_passed_over_is_named(run: Path, here: Here) -> None:
    file = run / "checkpoints" / "last.ckpt"
    file.write_bytes(file.read_bytes()[:1000])
    _, told = here("fit", "--resume", str(run), *MORE)
    assert "last.ckpt; best.ckpt is the newest left" in told
    assert told.count("newest left") == 1


def test_a_finished_run_without_checkpoints_is_not_begun_again(run: Path, here: Here) -> None:
    shutil.rmtree(run / "checkpoints")
    figures = (run / "metrics.json").read_bytes()
    _, told = here("fit", "--resume", str(run), *MORE, code=2)
    assert "has finished and has no checkpoint" in told
    assert (run / "metrics.json").read_bytes() == figures


@pytest.mark.parametrize("seed", ["-1", "99999999999999999999"])
def test_a_seed_that_numpy_cannot_take_is_refused(seed: str, here: Here) -> None:
    _, told = here("fit", "vae/digits", f"seed_everything={seed}", "track.wandb=off", code=2)
    assert "seed_everything must be from 0 to 4294967295" in told
