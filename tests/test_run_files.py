"""Files of a run directory and their descriptions."""

from __future__ import annotations

from pathlib import PurePath

import pytest

from genlab import run_files


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("splits.npz", "splits.npz"),
        ("runs/vae/digits/20261129-224302-72ad/splits.npz", "splits.npz"),
        ("checkpoints/last.ckpt", "checkpoints/last.ckpt"),
        ("runs/a/b/c/checkpoints/step-00000100.ckpt", "checkpoints/step-<step>.ckpt"),
        ("pictures/film.gif", "pictures/film.<format>"),
        ("r/pictures/film/00000010.png", "pictures/film/<step>.png"),
        ("pictures/samples-00000010.png", "pictures/samples-<step>.png"),
        ("pictures/other.png", "pictures/"),
        ("nonfinite", "nonfinite/"),
        ("nonfinite/step.json", "nonfinite/step.json"),
        ("runs/a/wandb/offline-run-1/files/config.yaml", "wandb/"),
        ("runs/vae/mnist/slurm-12.log", "slurm-<job>.log"),
    ],
)
def test_a_path_means_a_file_by_its_end(path: str, name: str) -> None:
    found = run_files.find(PurePath(path))
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("path", ["model.lr", "SimCLR", "last.ckpt.tmp", "metrics", "", "a/b"])
def test_other_paths_mean_none(path: str) -> None:
    assert run_files.find(PurePath(path)) is None


def test_every_file_is_described_and_found_first() -> None:
    for one in run_files.FILES:
        assert one.text.endswith("."), one.name
        assert one.writer, one.name
        assert one.readers, one.name
        assert run_files.find(PurePath(one.name.replace("<", "").replace(">", ""))) is one


def test_every_fact_is_described() -> None:
    assert all(text.endswith(".") for text in run_files.FACTS.values())
