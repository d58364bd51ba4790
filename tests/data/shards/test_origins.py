"""Packing of every source: its images byte for byte, its labels, parts and batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genlab import data as sources
from genlab.data import ImageFolder
from genlab.data.shards.index import Shelf, read_index
from genlab.data.shards.origins import found_in
from genlab.data.shards.packing import Packing, pack
from tests.conftest import Here
from tests.data.made import FILES, MADE
from tests.data.sources import assert_equal, batches

PLACES = ("root", "table")
CASES = [name for name in MADE if name not in ("shards", "npz", "npy")]
FEW = ("csv", "hub", "tars", "tiny imagenet")  # by default
OWN = {"split", "label"}  # settings that pack has to be told


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "name", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_shards_are_their_source(here: Here, tmp_path: Path, name: str) -> None:
    kind, arguments = MADE[name](tmp_path)
    place = next(arguments[key] for key in PLACES if key in arguments)
    words = [f"data.{key}={arguments[key]}" for key in OWN & arguments.keys()]
    words += [f"data={kind}"] * ("imagenet" in name)
    out, _ = here("pack", place, "made", *words, "--size", "0.02")
    assert "train: 24 images" in out
    options: dict[str, Any] = FILES | {"batch_size": 4, "val_size": 3, "seed": 1, "crop_ratio": 1.0}
    theirs = getattr(sources, kind)(**arguments | options)
    ours = ImageFolder(str(tmp_path / "made"), **options)
    assert list(ours.classes) == list(theirs.classes)
    assert_equal(batches(ours), batches(theirs))
    part, (_, listed) = read_index(tmp_path / "made")[1]["train"], found_in(place, kind, {
        key: arguments[key] for key in OWN & arguments.keys()})  # fmt: skip
    read, shelf = listed["train"].reader(), Shelf(part.shards)
    assert all(shelf.read(entry) == read(int(entry["index"])) for entry in part.entries)


def test_an_interrupted_packing_goes_on_unless_the_source_has_changed(tmp_path: Path) -> None:
    kind, arguments = MADE["tars"](tmp_path)
    root, settings = Path(arguments["root"]), {"label": arguments["label"]}

    def run(stop: int | None) -> list[int]:
        told: list[int] = []

        def tell(done: int, total: int) -> None:
            told.append(done)
            if done == stop:
                raise KeyboardInterrupt

        pack(root, tmp_path / "made", Packing(megabytes=0.005), tell=tell,
             found=found_in(str(root), kind, settings))  # fmt: skip
        return told

    with pytest.raises(KeyboardInterrupt):
        run(20)
    assert run(None)[0] > 5
    assert len(read_index(tmp_path / "made")[1]["train"].entries) == 24


def test_what_is_wrong_is_said(here: Here, tmp_path: Path) -> None:
    MADE["csv"](tmp_path)
    MADE["tars"](tmp_path)
    (tmp_path / "empty").mkdir()
    for words, message in (
        (("t.csv", "made", "data.labl=x"), "ImageTable has no setting 'labl'; did you mean label?"),
        (("t.csv", "made", "data.label=x"), "row 1: no column 'x'"),
        (("t.csv", "made", "data.split=part", "data=Table"), "'Table'; did you mean ImageTable?"),
        (("t.csv", "made", "split=part"), "'split=part' is not data=CLASS or data.KEY=VALUE"),
        (("t.csv", "data.split=part"), "genlab pack SOURCE SHARDS makes shards"),
        (("u.csv", "made"), "no table"),
        (("photographs", "made", "data.label=x"), "is a folder of images: data.label has no use"),
        (("empty", "made"), "no images in"),
        (("tars", "made"), "no sample has the label cls"),
        (("tars", "made", "data.label=null", "--split", "val"), "unknown split 'val'"),
    ):
        _, err = here("pack", *words, code=2)
        assert message in err
        assert len(err.splitlines()) <= 3
    assert not (tmp_path / "made").exists()
    here("pack", "t.csv", "made", "--unlabeled")
    assert ImageFolder(str(tmp_path / "made")).num_classes == 0
