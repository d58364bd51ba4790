"""One table of all sources: each trains, is evaluated, resumes, and knows no ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from genlab import data as sources
from genlab.testing.ranks import Ranks
from tests.conftest import Here
from tests.data.made import CLASSES, MADE, words
from tests.data.sources import TINY, assert_trains_evaluates_and_resumes

TWINS = {"json lines", "npy", "save_to_disk"}  # of a class whose other form trains by default
FEW = {"folder", "npz"}  # which are enough by default: ranks share a loader, not a source


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in TWINS else name for name in MADE]
)
def test_it_trains_evaluates_and_resumes(here: Here, tmp_path: Path, name: str) -> None:
    assert_trains_evaluates_and_resumes(here, *words(MADE[name](tmp_path)))


@pytest.mark.ddp
@pytest.mark.parametrize(
    "name", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in MADE]
)
def test_two_ranks_train_as_one(ranks: Ranks, tmp_path: Path, name: str) -> None:
    given = [*words(MADE[name](tmp_path)), *TINY]
    program = "tests.data.programs_sources:weights"
    one, *two = (ranks.run(program, world, str(tmp_path), *given) for world in (1, 2))
    for found in two[0]:
        torch.testing.assert_close(found, one[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", MADE)
def test_splits_and_few_labels(tmp_path: Path, name: str) -> None:
    kind, arguments = MADE[name](tmp_path)
    options: dict[str, Any] = {"batch_size": 4, "val_size": 3, "seed": 1} | arguments
    make = getattr(sources, kind)
    data = make(**options)
    data.setup()
    sizes = {part: len(rows) for part, rows in data.splits().items()}
    assert sizes == {"train": 21, "val": 3, "test": sizes["test"]}
    assert sizes["test"] in (6, 9)
    assert data.num_classes == CLASSES
    few = make(**options, labels=2 * CLASSES, unlabeled_ratio=2, steps_per_epoch=2)
    for batch in few.batches("train"):
        assert len(batch["labeled"]["image"]) == 4
        assert (batch["labeled"]["label"] >= 0).all()
        assert batch["unlabeled"]["views"][0].shape == (8, 3, 16, 16)
    assert sorted(few.class_counts) == [2] * CLASSES


def broken() -> dict[str, int]:
    """Number of broken inputs of each source whose error or count a test checks."""
    from tests.data import test_arrays, test_hostile_files, test_image_table, test_web_dataset
    from tests.data.test_imagenet_sets import WRONG

    layouts = [layout for layout, *_ in WRONG.values()]
    return {
        "ImageFolder": len(test_hostile_files.BESIDE),
        "shards": sum(name.startswith("shards") for name in test_hostile_files.SETS),
        "ImageTable": len(test_image_table.WRONG) + len(test_image_table.DAMAGED),
        "Arrays": len(test_arrays.WRONG),
        "WebDataset": len(test_web_dataset.WRONG),
        "ImageNet": len(layouts) - layouts.count("tiny"),
        "TinyImageNet": layouts.count("tiny"),
    }


def test_each_has_ten_broken_inputs() -> None:
    assert {name: count for name, count in broken().items() if count < 10} == {}


def test_hugging_face_has_ten_broken_inputs() -> None:
    from tests.data.test_hugging_face import WRONG

    assert len(WRONG) >= 10
