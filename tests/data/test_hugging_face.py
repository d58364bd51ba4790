"""Hugging Face data sets: every layout, the batches of a folder, reasons for what is wrong."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genlab.data import BrokenDataError, HuggingFace, ImageFolder, MissingDataError
from genlab.data.files.cache import READING
from genlab.data.files.dataset_folder import files_of_parts
from genlab.data.shards.pieces import Pieces
from genlab.errors import DiskError
from tests.conftest import Here
from tests.data.sources import (
    NAMES,
    Example,
    as_folder,
    assert_equal,
    batches,
    examples,
)
from tests.full_disk import FullDisk

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

FEATURES = {"image": {"_type": "Image"}, "label": {"names": list(NAMES), "_type": "ClassLabel"}}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "genlab" / "unpacked"


def table(pictures: Sequence[Example], features: Any = FEATURES, **more: list[Any]) -> Any:
    """A table as the datasets library makes it."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": data, "path": f"{k}.jpg"} for k, (data, _) in enumerate(pictures)],
                      kind)  # fmt: skip
    columns = {"image": images, "label": [label for _, label in pictures]} | more
    known = {"huggingface": json.dumps({"info": {"features": features}})} if features else None
    return pa.table(columns).replace_schema_metadata(known)


def save_to_disk(folder: Path, tables: Sequence[Any], options: Any = None) -> Path:
    """What ``Dataset.save_to_disk`` writes: Arrow streams and a list of them."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{k:05}-of-{len(tables):05}.arrow" for k in range(len(tables))]
    for name, part in zip(names, tables, strict=True):
        with pa.ipc.new_stream(str(folder / name), part.schema, options=options) as stream:
            stream.write_table(part, max_chunksize=5)
    state = {"_data_files": [{"filename": name} for name in names], "_split": "train"}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    return folder


def save_splits(folder: Path, **splits: Any) -> Path:
    """What ``DatasetDict.save_to_disk`` writes."""
    for name, part in splits.items():
        save_to_disk(folder / name, [part])
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    return folder


def hub(folder: Path, **files: Any) -> Path:
    """Parquet files as the hub has them, ``-`` in place of ``_``."""
    for name, part in files.items():
        file = folder / "data" / f"{name.replace('_', '-')}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(part, file, row_group_size=7)
    return folder


def source(root: Path, **kwargs: Any) -> HuggingFace:
    options: dict[str, Any] = {"batch_size": 4, "seed": 1, "workers": 0, "val_size": 0.2}
    return HuggingFace(str(root), image_size=16, **(options | kwargs))


def in_classes(pictures: Sequence[Example]) -> list[Example]:
    """In the order of a folder: by class."""
    return sorted(pictures, key=lambda pair: pair[1])


@pytest.mark.parametrize("views", [None, "simclr"])
@pytest.mark.parametrize("layout", ["dataset", "dict", "hub", "cached"])
def test_every_layout_gives_the_batches_of_the_folder(
    tmp_path: Path, layout: str, views: str | None
) -> None:
    train, test = in_classes(examples(24)), in_classes(examples(6, 50))
    root, parts = tmp_path / "set", {"train": train}
    if layout == "dataset":
        save_to_disk(root, [table(train[:10]), table(train[10:])])
    elif layout == "dict":
        save_splits(root, train=table(train), test=table(test))
    elif layout == "hub":
        hub(root, train_00000_of_00002=table(train[:10]), train_00001_of_00002=table(train[10:]),
            test_00000_of_00001=table(test))  # fmt: skip
    else:
        root.mkdir()
        for name, part in (("pets-train", train), ("pets-test", test)):
            with pa.ipc.new_file(str(root / f"{name}.arrow"), table(part).schema) as stream:
                stream.write_table(table(part))
    parts |= {} if layout == "dataset" else {"test": test}
    for name, pictures in parts.items():
        as_folder(tmp_path / "folder" / name, pictures)
    options: dict[str, Any] = {"views": views, "in_memory": False}
    theirs = ImageFolder(
        str(tmp_path / "folder"), 16, batch_size=4, seed=1, workers=0, val_size=0.2, **options
    )
    ours = source(root, **options)
    assert list(ours.classes) == list(NAMES)
    assert_equal(batches(ours), batches(theirs))


def test_workers_and_a_position_within_an_epoch(tmp_path: Path) -> None:
    root = hub(tmp_path / "set", train=table(examples(24)))
    settings: dict[str, Any] = {"views": "simclr", "batch_size": 6}
    whole = list(source(root, **settings).train_dataloader())
    assert_equal(list(source(root, workers=2, **settings).train_dataloader()), whole)
    fresh = source(root, **settings).train_dataloader()
    running = iter(loader := source(root, **settings).train_dataloader())
    next(running)
    fresh.load_state_dict(loader.state_dict())
    assert_equal(list(fresh), whole[1:])


def test_parquet_is_unpacked_once_until_it_changes(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = hub(tmp_path / "set", train=table(examples(24)))
    first = batches(source(root))
    assert "unpacked once" in capsys.readouterr().err
    blob = next(cache.glob("*/*.images"))
    assert blob.stat().st_size == sum(len(data) for data, _ in examples(24))
    assert_equal(batches(source(root)), first)
    assert not capsys.readouterr().err
    blob.write_bytes(b"short")  # a damaged cache is made anew
    assert_equal(batches(source(root)), first)
    hub(root, train=table(examples(24, 7)))
    assert not torch.equal(batches(source(root))[0]["image"], first[0]["image"])


def test_another_column_or_a_changed_file_leaves_the_images_of_who_reads(tmp_path: Path) -> None:
    """Workers open what is unpacked by its path, during training too."""
    more = [data for data, _ in examples(12, 30)]
    root = hub(tmp_path / "set", train=table(examples(12), thumbnail=more))
    train = source(root, image="image").listing()[1]["train"]
    assert isinstance(train, Pieces)
    (unpacked,) = train.holders
    before = unpacked.read_bytes()
    source(root, image="thumbnail").listing()
    hub(root, train=table(examples(12, 60), thumbnail=more))
    source(root, image="image").listing()
    assert unpacked.read_bytes() == before


def test_outdated_copies_are_deleted_when_nobody_reads(tmp_path: Path, cache: Path) -> None:
    files = []
    for first in (0, 12, 24):
        root = hub(tmp_path / "set", train=table(examples(12, first)))
        source(root).listing()
        files.append(len([*cache.glob("*/*.images")]))
    assert files == [1, 2, 3]  # this process may read them all
    os.close(READING.pop(cache))
    newest = {*cache.glob("*/*.npz")}
    before = batches(source(root))
    assert len([*cache.glob("*/*.images")]) == 1
    assert {*cache.glob("*/*.npz")} < newest
    assert_equal(batches(source(root)), before)


def test_another_process_that_reads_keeps_outdated_copies(tmp_path: Path, cache: Path) -> None:
    for first in (0, 12):
        root = hub(tmp_path / "set", train=table(examples(12, first)))
        source(root).listing()
    mine, other = READING.pop(cache), os.open(cache / ".readers", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_SH)
    os.close(mine)
    source(root).listing()
    os.close(other)
    assert len([*cache.glob("*/*.images")]) == 2


def test_labels_that_are_texts_or_numbers_or_missing(tmp_path: Path) -> None:
    pictures = examples(12)
    kinds = [10, 2, 10, -1, 2, None] * 2
    texts = ["b", "a", "b", "", "a", None] * 2
    root = save_to_disk(tmp_path / "set", [table(pictures, None, number=kinds, text=texts)])
    data = source(root, label="number", val_size=0, test_size=0)
    assert list(data.classes) == ["2", "10"]
    data.setup()
    assert data.class_counts == [4, 4]
    assert list(source(root, label="text").classes) == ["a", "b"]
    assert list(source(root, label=None).classes) == []
    assert list(source(root, label="text", classes=["z", "b", "a"]).classes) == ["z", "b", "a"]


def test_plain_bytes_and_a_choice_between_columns_of_images(tmp_path: Path) -> None:
    pictures = examples(12)
    raw = [data for data, _ in examples(12, 30)]
    root = save_to_disk(tmp_path / "set", [table(pictures, thumbnail=raw)])
    with pytest.raises(BrokenDataError, match="several columns of images: image, thumbnail; set"):
        source(root).setup()
    other = save_to_disk(tmp_path / "other", [table(examples(12, 30))])
    assert_equal(batches(source(root, image="thumbnail")), batches(source(other)))


def test_missing_and_damaged_images_are_counted_and_replaced(tmp_path: Path) -> None:
    pictures = examples(24)
    pictures[3] = (None, 0)  # type: ignore[assignment]
    pictures[5] = (b"no image", 2)
    root = save_to_disk(tmp_path / "set", [table(pictures)])
    with pytest.warns(
        UserWarning,
        match=r"2 of 24 images cannot be read.*arrow/image 3: cannot identify image file$",
    ):
        source(root, in_memory=True).setup()
    data = source(hub(tmp_path / "hub", train=table(pictures)), in_memory=False)
    with pytest.warns(UserWarning, match="images so far cannot be read and are replaced"):
        assert len(batches(data)) >= 5


def test_a_folder_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = hub(tmp_path / "set", train=table(examples(6)))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDataError, match="requires pyarrow: pip install pyarrow"):
        source(root).prepare_data()
    with pytest.raises(MissingDataError, match="requires pyarrow"):
        source(root).setup()


def test_the_words_of_the_command_line(here: Here, tmp_path: Path) -> None:
    root = save_to_disk(tmp_path / "set", [table(examples(6))])
    _, err = here("fit", "classifier/digits", "data=HuggingFace", f"data.root={root}",
                  "data.label=lable", code=2)  # fmt: skip
    assert "no column 'lable' of labels; did you mean label?" in err
    assert len(err.strip().splitlines()) <= 3
    assert not here.runs()


def _state(root: Path, content: object) -> None:
    (root / "state.json").write_text(json.dumps(content))


def _cut(root: Path) -> None:
    file = next(root.glob("*.arrow"))
    file.write_bytes(file.read_bytes()[:2000])


LZ4 = "lz4"
WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "not json": (lambda r: (r / "state.json").write_text("{"), {}, "is not what save_to_disk"),
    "a list": (lambda r: _state(r, []), {}, "is not what save_to_disk"),
    "no files": (lambda r: _state(r, {"_data_files": []}), {}, "lists no data files"),
    "no list": (lambda r: _state(r, {"_data_files": 7}), {}, "lists no data files"),
    "elsewhere": (lambda r: _state(r, {"_data_files": [{"filename": "../x.arrow"}]}), {},
                  r"'../x.arrow' is not the name of a file next to it"),
    "gone": (lambda r: next(r.glob("*.arrow")).unlink(), {}, "no file .*arrow"),
    "order": (lambda r: _state(r, {"_indices_data_files": [{}]}), {}, "an order of its rows"),
    "truncated": (_cut, {}, "is not an Arrow table"),
    "other": (lambda r: next(r.glob("*.arrow")).write_bytes(b"x" * 999), {}, "not an Arrow table"),
    "empty": (lambda r: next(r.glob("*.arrow")).write_bytes(b""), {}, "not an Arrow table"),
    "image": (None, {"image": "imgae"}, "no column 'imgae'; did you mean image"),
    "no image": (None, {"image": "label"}, "column 'label' contains no encoded images"),
    "label": (None, {"label": "image"}, "contains struct.*, not whole numbers or texts"),
    "class": (lambda r: save_to_disk(r, [table([(examples(1)[0][0], 3)] * 4)]), {},
              "label 3 is not one of its 3 classes"),
    "no images": (lambda r: save_to_disk(r, [table([]).drop_columns("image")]), {},
                  "no column of encoded images among label"),
    "no rows": (lambda r: save_to_disk(r, [table([])]), {}, "has no rows"),
    "compressed": (lambda r: save_to_disk(r, [table(examples(4))],
                                          pa.ipc.IpcWriteOptions(compression=LZ4)), {},
                   "is compressed"),
    "names": (lambda r: save_to_disk(
        r, [table(examples(4), FEATURES | {"label": {"names": ["a", "b", "a"]}})]), {},
        "two of its 3 classes have the same name"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(tmp_path: Path, case: str) -> None:
    change, options, message = WRONG[case]
    root = save_to_disk(tmp_path / "set", [table(examples(6))])
    if change:
        change(root)
    with pytest.raises((BrokenDataError, MissingDataError), match=message) as said:
        source(root, **options).setup()
    assert len(str(said.value).splitlines()) <= 3


def test_parquet_that_is_none(tmp_path: Path) -> None:
    root = hub(tmp_path / "set", train=table(examples(6)))
    file = root / "data" / "train.parquet"
    whole = file.read_bytes()
    file.write_bytes(b"PAR1 or not")
    with pytest.raises(BrokenDataError, match="is not a Parquet table"):
        source(root).setup()
    middle = bytearray(whole)
    middle[200:1200] = np.random.default_rng(0).bytes(1000)
    file.write_bytes(bytes(middle))
    with pytest.raises(BrokenDataError, match="is not a Parquet table"):
        source(root).setup()


def test_a_column_that_only_names_files(tmp_path: Path) -> None:
    named: Any = [(None, label) for _, label in examples(6)]
    for root in (
        hub(tmp_path / "hub", train=table(named)),
        save_to_disk(tmp_path / "s", [table(named)]),
    ):
        with pytest.raises(
            BrokenDataError, match="'image' contains no images, at most their paths"
        ):
            source(root).setup()


def test_the_cache_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    root = hub(tmp_path / "set", train=table(examples(6)))
    with pytest.raises(ValueError, match=r"cannot write .*\nXDG_CACHE_HOME names another cache"):
        source(root).setup()


def test_a_full_disk_ends_in_one_line_and_a_later_start_goes_on(tmp_path: Path) -> None:
    root = hub(tmp_path / "set", train=table(examples(12)))
    plain = batches(source(root))
    disk = FullDisk(tmp_path / "counted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "counted"))
        with disk.mounted():
            batches(source(root))
    assert disk.count > 8
    said = []
    for k in range(1, disk.count + 1):
        cache = tmp_path / f"cache{k}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(cache))
            with FullDisk(cache, fails=k).mounted():
                try:
                    assert_equal(batches(source(root)), plain)  # only the lock was not made
                except DiskError as error:
                    said.append(str(error))
            assert_equal(batches(source(root)), plain)
    assert len(said) >= disk.count - 2
    assert all("No space left" in text and len(text.splitlines()) == 1 for text in said)


def test_the_command_says_that_the_disk_is_full(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = hub(tmp_path / "set", train=table(examples(12)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "full"))
    with FullDisk(tmp_path / "full", fails=3, stays=True).mounted():
        _, err = here("fit", "classifier/digits", "data=HuggingFace", f"data.root={root}",
                      "track.wandb=off", code=1)  # fmt: skip
    assert "cannot write" in err.splitlines()[-1]
    assert "No space left" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_few_labels(tmp_path: Path) -> None:
    root = save_to_disk(tmp_path / "set", [table(examples(24))])
    data = source(root, labels=3, unlabeled_ratio=2, steps_per_epoch=2, augment={"flip": True,
                  "translate": 2})  # fmt: skip
    batch = next(data.batches("train"))
    assert batch["unlabeled"]["views"][0].shape == (8, 3, 16, 16)


def test_a_class_that_no_training_image_has(tmp_path: Path) -> None:
    pictures = examples(6)
    root = save_splits(tmp_path / "set", train=table(pictures, None, label=["a", "b"] * 3),
                       test=table(pictures, None, label=["a", "c"] * 3))  # fmt: skip
    with pytest.raises(BrokenDataError, match="class 'c', which no training image has"):
        source(root).setup()


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["a.parquet", "b.parquet"], {"train": 2}),
        (["default/train/0000.parquet", "default/validation/0000.parquet"], {"train": 1, "val": 1}),
        (["train/unit-test-0.parquet", "test/train-0.parquet"], {"train": 1, "test": 1}),
        (["default/partial-train/0000.parquet"], {"train": 1}),
        (["train.parquet", ".cache/test.parquet"], {"train": 1}),
        (["a/train.parquet", "b/train.parquet"], "contains several data sets: a, b"),
        (["test.parquet"], "has no split train; there are: test"),
        (["train.parquet", "test.arrow"], "contains both Parquet and Arrow files"),
        ([], "no state.json and no Parquet or Arrow files"),
    ],
)  # fmt: skip
def test_parts_of_files(tmp_path: Path, names: list[str], parts: Any) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    if isinstance(parts, str):
        with pytest.raises((BrokenDataError, MissingDataError), match=parts):
            files_of_parts(tmp_path)
    else:
        assert {k: len(v) for k, v in files_of_parts(tmp_path).items()} == parts


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([], "has no split train"),
        (["test"], "has no split train; there are: test"),
        ("train", "names no splits"),
        (["../train"], "has no split train"),
        (["train", "train"], "two splits that are train"),
    ],
)
def test_wrong_splits(tmp_path: Path, splits: object, message: str) -> None:
    save_splits(tmp_path, train=table(examples(3)), test=table(examples(3)))
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
    with pytest.raises(BrokenDataError, match=message):
        files_of_parts(tmp_path)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no folder .*save_to_disk"):
        source(tmp_path / "none").setup()
