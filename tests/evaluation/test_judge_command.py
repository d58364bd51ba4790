"""``genlab evaluate RUN --judge`` as a user meets it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Here


@pytest.fixture
def run(here: Here, digits_run: Path) -> str:
    """A run of vae/digits, which is its own judge here: any method of the lab has features."""
    return str(shutil.copytree(digits_run, here.folder / "run"))


def test_figures_and_a_picture_of_neighbours(here: Here, run: str) -> None:
    out, _ = here("evaluate", run, "--judge", run, "--samples", "300", "--json")
    found = json.loads(out)
    for noun in ("fid", "kid", "precision", "recall", "density", "coverage"):
        assert {f"judge/{noun}_vae_mlp", f"judge/{noun}_vae_mlp_floor"} <= set(found)
    assert found["judge/fid_vae_mlp"] > found["judge/fid_vae_mlp_floor"]
    assert 0 <= found["judge/copying_vae_mlp"] <= 1
    assert found["judge/samples"] == 300
    assert found["judge/reference"].endswith("test images")
    assert found["test/neg_elbo"] > 0  # what was measured before is measured still
    picture = np.asarray(Image.open(Path(run) / "pictures" / "neighbours.png"))
    assert picture.shape[:2] == (32 + 12 * 120, 7 * 106 + 12)  # a tile a sample, 6 neighbours
    assert (picture[:32] < 128).any()  # title and heads
    assert len(np.unique(picture)) > 20


def test_without_a_judge_it_is_said_how_to_get_one(here: Here, run: str) -> None:
    out, _ = here("evaluate", run)
    assert "--judge" in out
    assert "judge/" not in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--judge", "clasifier/mnist"], ["clasifier/mnist", "inception"]),
        (["--judge", "inception"], ["Inception's weights are not on this machine", "https://"]),
        (["--judge", "resnet18"], ["resnet18", "cannot be reached"]),
        (["--judge", "run", "--samples", "5"], ["--samples 5", "at least 10"]),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    here: Here, run: str, words: list[str], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genlab.checkpoints.foreign.fetching._reach", lambda url: False)
    monkeypatch.setenv("TORCH_HOME", str(here.folder))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(here.folder))
    monkeypatch.delenv("GENLAB_WEIGHTS", raising=False)
    before = set(Path(run).rglob("*"))
    out, err = here("evaluate", run, *words, code=2)
    assert not out
    assert all(word in err for word in said), err
    assert len(err.strip().splitlines()) <= 3
    assert set(Path(run).rglob("*")) == before


def test_paths_have_two_ways(here: Here, run: str) -> None:
    for way in ("linear", "spherical"):
        here("interpolate", run, "--path", way, "--out", f"{way}.png")
    line, arc = (
        np.asarray(Image.open(here.folder / f"{way}.png")) for way in ("linear", "spherical")
    )
    assert line.shape == arc.shape
    assert not np.array_equal(line, arc)
    _, err = here("interpolate", run, "--path", "zigzag", code=2)
    assert "linear" in err
