"""Outputs for every image of a folder: each file once, by name, whatever the splits."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.data import ImageFolder
from genlab.data.digits import Digits
from genlab.evaluation import embed
from genlab.methods import Classifier
from tests.conftest import Here
from tests.fake_data import digits

pytestmark = pytest.mark.filterwarnings("ignore:.*cannot be read")
COUNT = 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k, image in enumerate(digits(8)[0][:COUNT]):
        file = tmp_path / "pictures" / "ab"[k % 2] / f"{k:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return tmp_path / "pictures"


def method(classes: int) -> Classifier:
    torch.manual_seed(0)
    return Classifier(classes, 1, 8)


@pytest.mark.parametrize("how", [{"in_memory": True}, {"in_memory": False, "workers": 0}])
def test_every_file_of_a_folder_once_in_the_order_of_names(
    folder: Path, how: dict[str, Any]
) -> None:
    (folder / "b" / "07.png").write_bytes(b"no image")
    data = ImageFolder(
        str(folder), 8, 1, val_size=5, test_size=0.2, limit=4, seed=3, batch_size=4, **how
    )
    found = embed(model := method(2), data, "all", predict=True)
    names = sorted(str(file) for file in folder.glob("?/*.png") if file.name != "07.png")
    assert found["path"].tolist() == names
    assert found["label"].tolist() == [int(Path(name).parent.name == "b") for name in names]
    for name, row in list(zip(names, found["probabilities"], strict=True))[::7]:
        image = torch.from_numpy(np.asarray(Image.open(name)).copy()).view(1, 1, 8, 8) / 255
        with torch.no_grad():
            expected = model.logits(image).softmax(1)[0].numpy()
        np.testing.assert_allclose(row, expected, rtol=1e-4)


def test_images_without_files_are_told_apart_by_their_split() -> None:
    data = Digits(val_size=100, batch_size=64)
    found = embed(method(10), data, "all")
    counts = dict(zip(*np.unique(found["split"], return_counts=True), strict=True))
    parts = {name: len(rows) for name, rows in data.splits().items()}
    assert counts == {"train": parts["train"] + parts["val"], "test": parts["test"]}
    assert len(found["features"]) == sum(parts.values())


def test_predict_of_a_folder_is_a_table_of_its_files(
    folder: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("data=ImageFolder", f"data.root={folder}", "data.image_size=8", "data.channels=1")
    monkeypatch.setenv("GENLAB_RUN_ID", "r")
    here("fit", "classifier/digits", *words, "data.batch_size=8", "data.val_size=8",
         "trainer.max_steps=2", "track.wandb=off")  # fmt: skip
    unsorted = folder.parent / "unsorted"
    unsorted.mkdir()
    for file in sorted(folder.glob("a/*.png")):
        file.rename(unsorted / f"é,{file.name}")
    (unsorted / f"é,{file.name}").rename(unsorted / os.fsdecode(b"caf\xe9.png"))
    out, _ = here("predict", "runs/classifier/digits/r", f"data.root={unsorted}", "--out", "p.npz")
    assert "p.csv: 15 files" in out
    with open(here.folder / "p.csv", newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    names = sorted(file.name for file in unsorted.iterdir())
    spelt = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    assert [Path(row["file"]).name for row in rows] == spelt
    assert spelt[0] == "caf\\udce9.png"
    with np.load(here.folder / "p.npz") as opened:
        arrays = dict(opened)
    assert [row["predicted"] for row in rows] == arrays["predicted"].tolist()
    assert {row["predicted"] for row in rows} <= {"a", "b"}
    assert {row["label"] for row in rows} == {""}
    sure = [float(row["probability"]) for row in rows]
    np.testing.assert_allclose(sure, arrays["probabilities"].max(1), rtol=1e-5)
