"""The labelled images: balanced, drawn by their own generator, kept, and refused to other data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genlab.data import Digits, ImageFolder
from genlab.data.in_memory import Pictures
from genlab.data.labels.budget import Budget, budget_from
from tests.fake_data import write_pictures


def chosen(**options: Any) -> list[int]:
    data = Digits(**{"val_size": 200, "labels": 40, "steps_per_epoch": 2} | options)
    record = data.label_record
    assert record is not None
    return record["indices"]


def test_they_are_balanced_and_not_held_out() -> None:
    data = Digits(val_size=200, labels=40)
    record = data.label_record
    assert record is not None
    assert record["counts"] == [4] * 10 == data.class_counts
    assert record["labels"] == len(set(record["indices"])) == 40
    splits = data.splits()
    assert set(record["indices"]) <= set(splits["train"].tolist())
    assert not set(record["indices"]) & set(splits["val"].tolist() + splits["test"].tolist())


def test_the_seed_decides_and_nothing_else() -> None:
    state, numpy_state = torch.get_rng_state(), repr(np.random.get_state())  # noqa: NPY002
    first = chosen()
    assert torch.equal(torch.get_rng_state(), state)
    assert repr(np.random.get_state()) == numpy_state  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    assert chosen(seed=3) == first
    assert chosen(labels_seed=1) != first


def test_a_larger_budget_contains_the_smaller() -> None:
    assert set(chosen(labels=10)) < set(chosen(labels=40)) < set(chosen(labels={"per_class": 9}))


@pytest.mark.parametrize("count", [10, 13, 47])
def test_what_cannot_be_divided_is_spread(count: int) -> None:
    record = Digits(labels=count).label_record
    assert record is not None
    assert sum(record["counts"]) == count
    assert max(record["counts"]) - min(record["counts"]) <= 1


def test_a_long_tail_has_the_ratio_that_was_asked_for() -> None:
    record = Digits(labels={"count": 200, "imbalance": 10}).label_record
    assert record is not None
    counts = record["counts"]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == 200
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.2)
    assert min(Digits(labels={"count": 30, "imbalance": 100}).class_counts) == 1


def test_a_file_gives_the_labels_again(tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(Digits(val_size=200, labels=40, labels_seed=8).label_record))
    again = chosen(labels=str(file))
    assert again == chosen(labels_seed=8) != chosen()
    assert chosen(labels=str(tmp_path)) == again  # a run directory
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps({"indices": again[::-1]}))
    assert sorted(chosen(labels=str(bare))) == sorted(again)


def test_a_file_of_other_data_is_refused(tmp_path: Path) -> None:
    record = Digits(val_size=200, labels=40).label_record
    assert record is not None
    file = tmp_path / "labels.json"

    def says(message: str, **changes: Any) -> None:
        file.write_text(json.dumps(record | changes))
        with pytest.raises(ValueError, match=message):
            chosen(labels=str(file))

    says("of other data: its data is MNIST, here it is Digits", data="MNIST")
    says("its images is 60000, here it is 1497", images=60000)
    says("its data_sha256", data_sha256="0")
    says("changed after it was written", indices=chosen(labels_seed=1))
    says("names an image twice", indices=record["indices"][:1] * 2)
    says("image 99999 of .* is not among the 1297 training images", indices=[99999])
    says("not a JSON object with a list of indices", indices=None)
    held = int(Digits(val_size=200).splits()["val"][0])
    says(f"image {held} of .* val_size, split_seed", indices=[held])
    few = [i for i, label in zip(record["indices"], range(40), strict=True) if label < 4]
    says("each of 10 classes requires at least one", indices=few, sha256=None)
    with pytest.raises(ValueError, match=r"no file .*nowhere"):
        chosen(labels=str(tmp_path / "nowhere"))


def test_wrong_budgets_are_refused() -> None:
    for options, message in (
        (5, "labels 5: 10 classes require at least one each"),
        (0, "count must be a whole number from 1"),
        ({"per_class": 4, "count": 9}, "labels must be a number"),
        ({"per_clas": 4}, "did you mean per_class"),
        ({"count": 40, "imbalance": 0.5}, "imbalance 0.5 must be at least 1"),
        ({"per_class": 4, "imbalance": 2}, "imbalance requires count"),
        ({"per_class": 2.5}, "per_class must be a whole number from 1, not 2.5"),
        ({"count": "40"}, "count must be a whole number from 1, not '40'"),
        ({"per_class": 4000}, r"4000 of class 0 are requested, it has \d+ training images"),
    ):
        with pytest.raises(ValueError, match=message):
            chosen(labels=options)


def test_a_class_that_does_not_occur_is_named() -> None:
    source = Pictures(torch.zeros(6, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 0, 1, 1, 3, 3]))
    with pytest.raises(ValueError, match="1 of class 2 are requested, it has 0"):
        Budget(per_class=1).choose("X", source, np.arange(6), 4)
    assert budget_from({"count": 7}, 3) == Budget(count=7, seed=3)


def test_images_without_labels_are_never_chosen() -> None:
    labels = torch.arange(60) % 3
    labels[::2] = -1
    source = Pictures(torch.zeros(60, 1, 2, 2, dtype=torch.uint8), labels)
    rows = Budget(count=30).choose("X", source, np.arange(60), 3)
    assert (labels[torch.from_numpy(rows)] >= 0).all()


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_folder_without_labels_beside_one_with(tmp_path: Path, in_memory: bool) -> None:
    write_pictures(tmp_path / "labelled")
    write_pictures(tmp_path / "more")
    data = ImageFolder(
        str(tmp_path / "labelled"),
        unlabeled_root=str(tmp_path / "more"),
        image_size=16,
        batch_size=2,
        labels=6,
        unlabeled_ratio=3,
        steps_per_epoch=30,
        seed=0,
        in_memory=in_memory,
        workers=0,
        val_size=9,
        test_size=0.1,
    )
    assert data.num_classes == 3
    assert data.class_counts == [2, 2, 2]
    batches = list(data.train_dataloader())
    hidden = torch.cat([batch["unlabeled"]["label"] for batch in batches])
    assert (hidden == -1).float().mean() == pytest.approx(60 / 105, abs=0.1)
    assert (torch.cat([batch["labeled"]["label"] for batch in batches]) >= 0).all()
    assert len(torch.cat([batch["unlabeled"]["index"] for batch in batches]).unique()) == 105
    views = data.to_device(batches[0])["unlabeled"]["views"]
    assert [tuple(view.shape) for view in views] == [(6, 3, 16, 16)] * 2
    assert not any((data.splits()["val"] >= 60).tolist())
