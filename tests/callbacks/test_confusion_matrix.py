"""The picture of a test's confusions, and the table of its classes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genlab.callbacks import ConfusionMatrix
from genlab.callbacks.confusion_matrix import draw
from genlab.data import Digits
from genlab.methods.classifier import Classifier
from tests.callbacks.tiny import Line, trainer


def run_test(folder: Path, callback: ConfusionMatrix) -> Classifier:
    method = Classifier(10, 1, 8, encoder_kwargs={"width": 8})
    fit = trainer(folder, callback)
    fit.test(method, datamodule=Digits(val_size=100), verbose=False)
    return method


def test_a_run_gets_a_picture_and_a_table_of_its_test(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").touch()
    method = run_test(tmp_path, ConfusionMatrix())
    with Image.open(tmp_path / "pictures" / "confusion.png") as picture:
        assert picture.mode == "RGB"
        assert min(picture.size) > 300
    with (tmp_path / "per_class.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == [str(k) for k in range(10)]
    report = method.class_report.per_class()
    for name, values in report.items():
        assert [float(row[name]) for row in rows] == pytest.approx(values, rel=1e-5), name


def test_nothing_is_written_where_there_is_no_run(tmp_path: Path) -> None:
    run_test(tmp_path, ConfusionMatrix())
    assert not list(tmp_path.iterdir())
    run_test(tmp_path, ConfusionMatrix(str(tmp_path / "here")))
    assert (tmp_path / "here" / "pictures" / "confusion.png").is_file()


def test_a_method_without_confusions_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").touch()
    ConfusionMatrix().on_test_end(trainer(tmp_path), Line())
    assert [file.name for file in tmp_path.iterdir()] == ["recipe.yaml"]


def test_the_diagonal_is_dark_and_a_confusion_shows() -> None:
    """Ten columns of a picture without text: darkest where the counts are."""
    matrix = np.eye(40, dtype=np.int64) * 90
    matrix[3, 30] = 10
    clean = np.eye(40, dtype=np.int64) * 90
    names = [str(k) for k in range(40)]
    one, other = (draw(m, names).astype(int) for m in (matrix, clean))
    rows, columns = np.nonzero(np.abs(one - other).sum(2)[100:] > 60)
    assert rows.size > 20  # the cell, large enough to be seen
    assert np.ptp(rows) < one.shape[0] / 20
    assert np.median(columns) > one.shape[1] / 2  # predicted as 30: to the right
    assert np.median(rows) + 100 < one.shape[0] / 3  # truly 3: near the top


def test_rare_and_absent_classes_and_long_names_are_drawn() -> None:
    picture = draw(np.diag([5, 0, 100_000]), ["a class with a long name", "b", "c"])
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
