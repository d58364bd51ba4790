"""Tables of images: every format, the batches of the same folder, reasons for what is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.data import BrokenDataError, ImageFolder, ImageTable, MissingDataError
from tests.data.files.test_encoded import photograph


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    for k in range(24):
        place = root / "abc"[k % 3]
        place.mkdir(exist_ok=True)
        photograph(20 + k, 40 - k, seed=k).save(place / f"{k:02}.jpg", quality=90)
    return root


def rows(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.rglob("*.jpg"))
    return [{"path": str(f.relative_to(folder)), "label": f.parent.name} for f in files]


def write(file: Path, found: list[dict[str, Any]]) -> Path:
    if file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in found))
    elif file.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(found), file)
    else:
        mark = "\t" if file.suffix == ".tsv" else ","
        lines = [mark.join(found[0])] + [mark.join(map(str, row.values())) for row in found]
        file.write_text("\n".join(lines) + "\n")
    return file


def table(file: Path, root: Path, **kwargs: Any) -> ImageTable:
    options: dict[str, Any] = {"batch_size": 4, "seed": 1, "workers": 0, "val_size": 0.2}
    return ImageTable(str(file), root=str(root), image_size=16, **(options | kwargs))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("views", [None, "simclr"])
def test_a_table_gives_the_batches_of_its_folder(
    folder: Path, tmp_path: Path, suffix: str, views: str | None
) -> None:
    data = table(write(tmp_path / f"t{suffix}", rows(folder)), folder, views=views)
    same = ImageFolder(str(folder), 16, batch_size=4, seed=1, workers=0, val_size=0.2, views=views)
    assert list(data.classes) == list(same.classes) == ["a", "b", "c"]
    for one, other in zip(data.batches("train"), same.batches("train"), strict=True):
        assert one.keys() == other.keys()
        for key in ("index", "label"):
            assert torch.equal(one[key], other[key])
        images = (
            [(one["image"], other["image"])]
            if views is None
            else zip(one["views"], other["views"], strict=True)
        )
        assert all(torch.equal(a, b) for a, b in images)


def test_parts_labels_of_two_columns_and_images_without_label(folder: Path, tmp_path: Path) -> None:
    found = [
        row | {"size": k % 2, "part": ("train", "Train", "valid", "test")[k % 4]}
        for k, row in enumerate(rows(folder))
    ]
    found[0]["size"] = ""
    file = write(tmp_path / "t.csv", found)
    data = table(file, folder, label=["label", "size"], split="part")
    data.setup()
    assert list(data.classes) == ["a / 0", "a / 1", "b / 0", "b / 1", "c / 0", "c / 1"]
    sizes = {name: len(index) for name, index in data.splits().items()}
    assert sizes == {"train": 12, "val": 6, "test": 6}
    assert data.class_counts == [1, 2, 2, 2, 2, 2]  # one row has no size
    few = table(file, folder, split="part", labels=3, unlabeled_ratio=2, steps_per_epoch=2)
    batch = next(few.batches("train"))
    assert batch["unlabeled"]["views"][0].shape == (8, 3, 16, 16)


def test_classes_that_are_numbers_are_in_their_order(folder: Path, tmp_path: Path) -> None:
    found = [row | {"label": (2, 10, 1)[k % 3]} for k, row in enumerate(rows(folder))]
    assert list(table(write(tmp_path / "t.jsonl", found), folder).classes) == ["1", "2", "10"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_rows_without_label_are_no_class_of_their_own(
    folder: Path, tmp_path: Path, suffix: str
) -> None:
    """A column of whole numbers with gaps is often stored as floats."""
    kinds: list[Any] = [0, 10, 2, -1] if suffix == ".csv" else [0.0, 10.0, 2.0, -1.0, None]
    kinds.append("" if suffix == ".csv" else float("nan"))
    found = [row | {"label": kinds[k % len(kinds)]} for k, row in enumerate(rows(folder))]
    data = table(write(tmp_path / f"t{suffix}", found), folder, val_size=0, test_size=0)
    data.setup()
    assert list(data.classes) == ["0", "2", "10"]
    assert data.class_counts == [sum(row["label"] == k for row in found) for k in (0, 2, 10)]


def test_minus_one_that_may_be_the_other_class_is_told(folder: Path, tmp_path: Path) -> None:
    found = [row | {"label": (-1, 1)[k % 2]} for k, row in enumerate(rows(folder))]
    data = table(write(tmp_path / "t.csv", found), folder)
    with pytest.warns(UserWarning, match="12 of 24 images have label -1, .* 1 is the only class"):
        assert list(data.classes) == ["1"]


def test_paths_in_several_rows_are_told(folder: Path, tmp_path: Path) -> None:
    found = [row | {"part": "train"} for row in rows(folder)]
    found += [found[2], found[5] | {"label": "b"}, found[7] | {"part": "test"}]
    data = table(write(tmp_path / "t.csv", found), folder, split="part")
    said = "3 of 27 rows repeat the path of another, 1 in another part, 1 with another label; "
    with pytest.warns(UserWarning, match=f"{said}rows 6 and 26: .*{found[5]['path']}"):
        data.listing()
    data = table(write(tmp_path / "u.csv", [*found[:24], found[2]]), folder)
    with pytest.warns(UserWarning, match="1 of 25 rows repeat the path of another; rows 3 and 25"):
        data.listing()


def test_a_root_without_any_of_the_images_is_told_of_other_readers(
    folder: Path, tmp_path: Path
) -> None:
    data = table(write(tmp_path / "t.csv", rows(folder)), tmp_path)
    with pytest.raises(MissingDataError, match=r"none of its 24 images exists(.|\n)*=ImageFolder"):
        data.prepare_data()


def test_missing_images_are_counted_and_replaced(folder: Path, tmp_path: Path) -> None:
    found = rows(folder)
    found[3]["path"] = "gone.jpg"
    data = table(write(tmp_path / "t.csv", found), folder, in_memory=True)
    with pytest.warns(UserWarning, match=r"1 of 24 images cannot be read.*gone\.jpg"):
        data.setup()


def _with(change: dict[str, Any], at: int = 4) -> Any:
    return lambda found: [row | change if k == at else row for k, row in enumerate(found)]


WRONG: dict[str, tuple[str, Any, dict[str, Any], str]] = {
    "column": ("csv", None, {"image": "pth"}, r"row 1: no column 'pth'.*did you mean path"),
    "label": ("jsonl", None, {"label": "labels"}, "row 1: no column 'labels'.*label"),
    "one row": ("jsonl", lambda f: [*f, {"path": "x"}], {}, "row 25: no column 'label'"),
    "cells": ("csv", _with({"label": "a,b"}), {}, "row 5: 3 cells, the first line names 2"),
    "empty path": ("csv", _with({"path": ""}), {}, "row 5: '' is not a path"),
    "number": ("jsonl", _with({"path": 7}), {}, "row 5: 7 is not a path"),
    "part": ("csv", _with({"part": "trian"}, 0), {"split": "part"}, "row 1: .*'trian'.*train"),
    "no train": ("csv", lambda f: [r | {"part": "test"} for r in f], {"split": "part"},
                 "no row of column 'part' is train"),
    "new class": ("csv", lambda f: [r | {"part": "test" if r["label"] == "c" else "train"}
                                    for r in f], {"split": "part"}, "class 'c', which no training"),
    "suffix": ("xlsx", lambda f: f, {}, "is not a table: its suffix"),
    "no rows": ("jsonl", lambda f: [], {}, "has no rows"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_its_row(folder: Path, tmp_path: Path, case: str) -> None:
    suffix, change, options, message = WRONG[case]
    found = rows(folder)
    if case == "part":
        found = [row | {"part": "train"} for row in found]
    file = write(tmp_path / f"t.{suffix}", change(found) if change else found)
    with pytest.raises(BrokenDataError, match=message) as said:
        table(file, folder, **options).prepare_data()
    assert len(str(said.value).splitlines()) == 1
    assert str(file) in str(said.value)


DAMAGED: dict[str, tuple[str, bytes, str]] = {
    "coding": ("t.csv", b"path,label\n\xff\xfe,a\n", "is not UTF-8"),
    "torn": ("t.jsonl", b"{\n", "row 1 is not JSON"),
    "a list": ("t.jsonl", b"[1]\n", "row 1 is not a mapping"),
    "twice": ("t.csv", b"path,path\na,b\n", "occurs twice"),
    "other": ("t.parquet", b"PAR1 or not", "is not a Parquet table"),
    "empty": ("t.csv", b"", "has no rows"),
    "marks": ("t.csv", b"path;label\na.jpg;b\n", "cells are separated by ';', not by"),
    "open quote": ("t.csv", b'path,label\n"a.jpg,b\nc.jpg,b\n', "row 1: 1 cells"),
    "huge cell": ("t.csv", b"path,label\n" + b"a" * 2**21 + b",b\n", "is not a CSV table"),
    "blank line": ("t.csv", b"path,label\na.jpg,b\n\n,c\n", "row 3: '' is not a path"),
    "blank row": ("t.jsonl", b'{"path": "a", "label": 1}\n\n{"path": "b"}\n',
                  "row 3: no column 'label'"),
    "several labels": ("t.jsonl", b'{"path": "a", "label": [1, 2]}\n',
                       "row 1: column 'label' contains a list, not a number or a name"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_tables(tmp_path: Path, case: str) -> None:
    name, content, message = DAMAGED[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BrokenDataError, match=message) as said:
        table(tmp_path / name, tmp_path).prepare_data()
    assert len(str(said.value).splitlines()) == 1
    assert str(tmp_path / name) in str(said.value)


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no table"):
        table(tmp_path / "none.csv", tmp_path).prepare_data()


def test_a_parquet_table_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDataError, match="requires pyarrow: pip install pyarrow"):
        table(tmp_path / "t.parquet", tmp_path).prepare_data()
