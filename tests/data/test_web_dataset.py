"""Tar files that others made: the batches of a folder, few readings, reasons for what is wrong."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genlab.data import BrokenDataError, ImageFolder, MissingDataError, WebDataset
from genlab.data.shards import foreign
from genlab.data.shards.packing import Packing, pack
from tests.conftest import Here
from tests.data.sources import (
    NAMES,
    Example,
    as_folder,
    assert_equal,
    batches,
    examples,
)

Member = tuple[str, bytes]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "genlab" / "tars"


def members(pictures: Sequence[Example], label: str = "cls", named: bool = True) -> list[Member]:
    """Members as webdataset's writer names them."""
    found = []
    for k, (data, number) in enumerate(pictures):
        value = NAMES[number] if named else str(number)
        said = json.dumps({"meta": {"label": value}}) if label == "json" else f"{value}\n"
        found += [(f"s{k:04}.jpg", data), (f"s{k:04}.{label}", said.encode())]
    return found


def write(file: Path, content: Iterable[Member], kind: int = tarfile.PAX_FORMAT) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w", format=kind) as tar:
        for name, data in content:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
    return file


def source(root: Path, **kwargs: Any) -> WebDataset:
    options: dict[str, Any] = {"batch_size": 4, "seed": 1, "workers": 0, "val_size": 0.2}
    return WebDataset(str(root), image_size=16, **(options | kwargs))


@pytest.mark.parametrize("views", [None, "simclr"])
@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_give_the_batches_of_the_folder(tmp_path: Path, kind: int, views: str | None) -> None:
    train = sorted(examples(24), key=lambda pair: pair[1])
    test = sorted(examples(6, 50), key=lambda pair: pair[1])
    root, plain = tmp_path / "tars", tmp_path / "folder"
    write(root / "pets-train-0000.tar", members(train[:10]), kind)
    write(root / "pets-train-0001.tar", members(train[10:]), kind)
    long = [(f"{'folder' * 30}/{name}", data) for name, data in members(test)]
    write(
        root / "pets-test-0000.tar", members(test) if kind == tarfile.USTAR_FORMAT else long, kind
    )
    for name, pictures in (("train", train), ("test", test)):
        as_folder(plain / name, pictures)
    options: dict[str, Any] = {"views": views, "in_memory": False}
    theirs = ImageFolder(str(plain), 16, batch_size=4, seed=1, workers=0, val_size=0.2, **options)
    for workers in (0, 2) if views else (0,):
        ours = source(root, **options | {"workers": workers})
        assert list(ours.classes) == list(NAMES)
        assert_equal(batches(ours), batches(theirs))


def test_a_tar_file_is_listed_once_until_it_changes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "set" / "0.tar", members(examples(24)))
    first = batches(source(file))
    read, listed = foreign._listed, list[Path]()

    def noting(tar: Path, choice: foreign.Choice) -> foreign.Samples:
        listed.append(tar)
        return read(tar, choice)

    monkeypatch.setattr(foreign, "_listed", noting)
    assert_equal(batches(source(file)), first)
    assert listed == []
    kept = next(cache.glob("*.npz"))
    kept.write_bytes(kept.read_bytes()[:-200])  # a damaged list is made anew
    assert_equal(batches(source(file)), first)
    assert listed == [file]
    write(file, members(examples(12)))
    assert len(source(file, val_size=0, test_size=0).splits()["train"]) == 12
    assert listed == [file, file]


def test_labels_that_are_numbers_and_samples_without_label_or_image(tmp_path: Path) -> None:
    content = members(examples(24), named=False)
    content = [(n, b"-1" if n == "s0003.cls" else b"10" if d == b"2\n" else d) for n, d in content]
    content = [m for m in content if m[0] not in ("s0004.cls", "s0006.jpg")]
    content += [("README", b"x"), ("._s0001.jpg", b"x"), ("s0001.txt", b"a cat")]
    data = source(write(tmp_path / "0.tar", content), val_size=0, test_size=0)
    with pytest.warns(UserWarning, match="1 of 24 samples have no image and are left out"):
        data.setup()
    assert list(data.classes) == ["0", "1", "10"]
    assert data.class_counts == [6, 7, 8]
    assert len(data.splits()["train"]) == 23


def test_a_choice_between_images(tmp_path: Path) -> None:
    content = members(examples(12))
    content += [(n.replace("jpg", "thumb.jpg"), d) for n, d in content if n.endswith("jpg")]
    several = [*content, *((f"s{k:04}.png", b"mask") for k in range(12))]
    plain = batches(source(write(tmp_path / "plain.tar", members(examples(12)))))
    assert_equal(batches(source(write(tmp_path / "a.tar", content))), plain)
    both = write(tmp_path / "b.tar", several)
    with pytest.raises(
        BrokenDataError, match=r"s0000 has several images: jpg, png; set data.image"
    ):
        source(both).setup()
    assert_equal(batches(source(both, image="thumb.jpg")), plain)


def test_a_damaged_image_is_replaced_by_name(tmp_path: Path) -> None:
    content = members(examples(24))
    content[6] = (content[6][0], b"no image")
    data = source(write(tmp_path / "0.tar", content), in_memory=True)
    with pytest.warns(UserWarning, match=r"1 of 24 images cannot be read.*0\.tar/s0003\.jpg"):
        data.setup()


def _cut(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])


def _garbage(file: Path) -> None:
    data = bytearray(file.read_bytes())
    with tarfile.open(file) as tar:
        start = tar.getmembers()[20].offset
    data[start : start + 512] = np.random.default_rng(0).bytes(512)
    file.write_bytes(bytes(data))


def _no_end(file: Path) -> None:
    with tarfile.open(file) as tar:
        last = tar.getmembers()[-1]
    _cut(file, last.offset_data + 512)


def _twice(file: Path) -> None:
    file.write_bytes(file.read_bytes() * 2)


def _with(name: str, data: bytes) -> Callable[[Path], Any]:
    return lambda file: write(file, [*members(examples(12)), (name, data)])


WRONG: dict[str, tuple[Callable[[Path], Any] | None, dict[str, Any], str]] = {
    "cut in an image": (lambda f: _cut(f, 9000), {}, "is not a tar file: unexpected end of data"),
    "cut in a header": (lambda f: _cut(f, 300), {}, "is not a tar file"),
    "cut at the end": (_no_end, {}, "has no end mark: truncated"),
    "garbage": (_garbage, {}, "is damaged at byte"),
    "two in one": (_twice, {}, "several tar files in one"),
    "empty": (lambda f: f.write_bytes(b""), {}, "is not a tar file"),
    "other": (lambda f: f.write_bytes(b"x" * 5000), {}, "is not a tar file"),
    "gzip": (lambda f: f.write_bytes(gzip.compress(f.read_bytes())), {}, "it is compressed"),
    "twice": (_with("s0001.jpg", b"x"), {}, "contains two files named 's0001.jpg'"),
    "no images": (lambda f: write(f, [("a.cls", b"1")]), {"label": None},
                  "no sample with an image"),
    "no images but labels": (lambda f: write(f, [("a.cls", b"1")]), {}, "no sample with an image"),
    "no label": (lambda f: write(f, [("a.jpg", b"x"), ("a.cls", b"-1")]), {},
                 "no sample has the label cls\nset data.label"),
    "near key": (lambda f: write(f, members(examples(12), "json")), {"label": "json.meta.labl"},
                 "label json.meta.labl; values in JSON: did you mean json.meta.label"),
    "image": (None, {"image": "jpgg"}, r"no member is named \*.jpgg; did you mean jpg"),
    "label": (None, {"label": "class"}, "no sample has the label class; members: did you mean cls"),
    "key": (lambda f: write(f, members(examples(12), "json")), {"label": "json.label"},
            "no sample has the label json.label"),
    "deep key": (lambda f: write(f, members(examples(12), "json")),
                 {"label": "json.meta.label.name"}, "json.meta.label.name is not in a mapping"),
    "value": (_with("x.jpg", b"") , {"label": "jpg"}, "is not text"),
    "json": (lambda f: write(f, [*members(examples(3)), ("s0001.json", b"{")]),
             {"label": "json.a"}, "s0001.json is not JSON"),
    "list": (lambda f: write(f, [("a.jpg", b"x"), ("a.json", b'{"label": [1]}')]),
             {"label": "json.label"}, r"json.label is \[1\], not a number or a name"),
    "lines": (lambda f: write(f, [("a.jpg", b"x"), ("a.txt", b"a\nb")]), {"label": "txt"},
              "a.txt is not a label: it has several lines"),
    "huge": (lambda f: write(f, [("a.jpg", b"x"), ("a.txt", b"a" * (2**20 + 1))]),
             {"label": "txt"}, "is not a label: it has 1,048,577 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(tmp_path: Path, case: str) -> None:
    change, options, message = WRONG[case]
    file = write(tmp_path / "set" / "train-0.tar", members(examples(12)))
    if change:
        change(file)
    with pytest.raises((BrokenDataError, MissingDataError), match=message) as said:
        source(file.parent, **options).setup()
    assert len(str(said.value).splitlines()) <= 3


def test_places_without_tar_files(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no folder .*must be a folder of tar files"):
        source(tmp_path / "none").setup()
    with pytest.raises(MissingDataError, match="no tar files in"):
        source(tmp_path).setup()
    (tmp_path / "train-0.tar.gz").touch()
    with pytest.raises(BrokenDataError, match=r"train-0\.tar\.gz is compressed"):
        source(tmp_path).setup()
    with pytest.raises(ValueError, match=r"label json requires a key: json\.KEY"):
        source(tmp_path, label="json")
    pack(as_folder(tmp_path / "folder", examples(12)), tmp_path / "shards", Packing())
    with pytest.raises(BrokenDataError, match=r"own shards: data=ImageFolder reads them"):
        source(tmp_path / "shards").setup()


def test_few_labels_and_a_cache_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    file = write(tmp_path / "0.tar", members(examples(24)))
    data = source(file, labels=3, unlabeled_ratio=2, steps_per_epoch=2)
    batch = next(data.batches("train"))
    assert batch["unlabeled"]["views"][0].shape == (8, 3, 16, 16)


def test_a_class_that_no_training_image_has(tmp_path: Path) -> None:
    write(tmp_path / "train.tar", members([pair for pair in examples(12) if pair[1] < 2]))
    write(tmp_path / "test.tar", members(examples(12)))
    with pytest.raises(BrokenDataError, match="class 'cow', which no training image has"):
        source(tmp_path).setup()


def test_the_words_of_the_command_line(here: Here, tmp_path: Path) -> None:
    file = write(tmp_path / "0.tar", members(examples(6)))
    words = ("fit", "classifier/digits", "data=WebDataset", f"data.root={file}")
    _, err = here(*words, "data.label=clas", code=2)
    assert "no sample has the label clas; members: did you mean cls?" in err
    assert len(err.strip().splitlines()) <= 3
    assert not here.runs()
