"""Hostile files and folders: each gives a count or a reason, never a traceback, a wait or code."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import socket
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genlab import checkpoints
from genlab.data import CIFAR10, MNIST, BrokenDataError, Digits, ImageFolder, MissingDataError
from genlab.data.files.decoding import Form, decode
from genlab.data.shards.index import INDEX
from genlab.data.shards.packing import Packing, pack
from genlab.errors import InputError
from tests.data.test_image_folder import classes, picture
from tests.data.test_torchvision_sets import Attack, cifar_folder
from tests.fake_data import write_idx

Change = Callable[[Path], Any]
GOOD = 6  # images beside a hostile one


def stored(image: Image.Image, kind: str, **how: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *more: bytes) -> bytes:
    """A PNG that claims a size and has the pixels of none."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IEND", b"")


RGB = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8))
JPEG, GIF = stored(RGB, "JPEG"), stored(RGB.convert("P"), "GIF")
NAN = Image.fromarray(np.full((9, 9), np.nan, dtype=np.float32))
PART = Image.fromarray(np.array([[np.nan, 0], [300, 60_000]], dtype=np.float32))
DEEP = Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30))

READ, LEFT, UNSEEN, CIRCLE = "read", "left out", "not an image", "lead back to"
IMAGES: dict[str, tuple[bytes, str]] = {  # name of the file: content, and what becomes of it
    "torn.jpg": (JPEG[: len(JPEG) // 2], LEFT),
    "head_only.jpg": (JPEG[:30], LEFT),
    "cmyk.jpg": (stored(RGB.convert("CMYK"), "JPEG"), READ),
    "odd_turn.jpg": (JPEG[:2] + b"\xff\xe1\x00\x0aExif\0\0II" + JPEG[2:], READ),
    "16_bit.png": (stored(DEEP, "PNG"), READ),
    "nan.tif": (stored(NAN, "TIFF"), READ),
    "part_nan.tif": (stored(PART, "TIFF"), READ),
    "cut.tif": (stored(NAN, "TIFF")[:40], LEFT),
    "bomb.gif": (GIF[:6] + b"\xff\xff\xff\xff" + GIF[10:], LEFT),
    "torn.gif": (GIF[: len(GIF) // 2], LEFT),
    "film.gif": (stored(RGB, "GIF", save_all=True, append_images=[RGB.rotate(90)]), READ),
    "bomb.png": (png(50_000, 50_000), LEFT),
    "no_pixels.png": (png(20, 20), LEFT),
    "no_size.png": (png(0, 0), LEFT),
    "text_bomb.png": (png(9, 9, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26)))), LEFT),
    "long.png": (stored(RGB.resize((10_000, 1)), "PNG"), READ),
    "torn.webp": (stored(RGB, "WEBP")[:50], LEFT),
    "bomb.ppm": (b"P6 99999 99999 255\n", LEFT),
    "drawing.png": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', LEFT),
    "page.jpg": (b"<!doctype html><title>404</title>", LEFT),
    "empty.png": (b"", LEFT),
    "._apple.jpg": (b"\0\5\x16\7\0\2\0\0Mac OS X", UNSEEN),
    "Thumbs.db": (b"\xd0\xcf\x11\xe0", UNSEEN),
}


def pipe(path: Path) -> None:
    os.mkfifo(path)


def bound(path: Path) -> None:
    """A socket in place of an image."""
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(path.parent)  # names of sockets are short
        made.bind(path.name)
        os.chdir(here)


def circle(path: Path) -> None:
    path.symlink_to(path.parent.parent, target_is_directory=True)


PLACES: dict[str, tuple[Change, str]] = {  # what is in place of an image
    "pipe.png": (pipe, LEFT),
    "socket.png": (bound, LEFT),
    "zero.png": (lambda path: path.symlink_to("/dev/zero"), LEFT),
    "nowhere.png": (lambda path: path.symlink_to("/nowhere/x.png"), LEFT),
    "itself.png": (lambda path: path.symlink_to(path), LEFT),
    "folder.png": (lambda path: path.mkdir(), UNSEEN),
    "circle": (circle, CIRCLE),
    "bytes": (lambda path: picture(path.parent / os.fsdecode(b"\xff\xfe\n.png")), READ),
}
BESIDE = {name: ((lambda path, b=data: path.write_bytes(b)), end) for name, (data, end) in
          IMAGES.items()} | PLACES  # fmt: skip


def quiet(make: Callable[[], Any]) -> tuple[Any, list[str]]:
    """A result, and the warnings on the way."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        return make(), [str(one.message) for one in said]


@pytest.mark.parametrize("name", BESIDE)
def test_images(name: str, tmp_path: Path) -> None:
    make, end = BESIDE[name]
    classes(tmp_path, GOOD // 2)
    make(tmp_path / "cat" / name)
    data = ImageFolder(str(tmp_path), 8, val_size=0, test_size=0, workers=0, in_memory=True)
    _, said = quiet(data.setup)
    left = [line for line in said if f"1 of {GOOD + 1} images cannot be read" in line]
    assert len(data.splits()["train"]) == GOOD + (end == READ)
    ours = [line for line in said if "Corrupt EXIF" not in line]  # Pillow's, of a file cut short
    assert (len(left), len(ours)) == (end == LEFT, end in (LEFT, CIRCLE)), said
    assert data.num_classes == 2


def written(name: str, content: Any) -> Change:
    """A file below the data's folder with other content: bytes, or a function of the old ones."""

    def change(root: Path) -> None:
        (file,) = root.rglob(name)
        file.write_bytes(content(file.read_bytes()) if callable(content) else content)

    return change


def emptied(root: Path) -> None:
    for file in [*root.rglob("*.png")]:
        file.unlink()


def batch(**parts: Any) -> bytes:
    """A batch of CIFAR's with other parts."""
    return pickle.dumps({"data": np.zeros((20, 3072), np.uint8), "labels": [0] * 20} | parts)


def flipped(place: int) -> Callable[[bytes], bytes]:
    return lambda old: old[:place] + bytes([old[place] ^ 1]) + old[place + 1 :]


def shard_index(**parts: Any) -> Change:
    return written(INDEX, lambda old: json.dumps(json.loads(old) | parts).encode())


def forged_table(root: Path) -> None:
    """A table of objects, which a pickle would make, with the right checksum."""
    table = root / "train.npy"
    np.save(table, np.array([Attack()], dtype=object), allow_pickle=True)
    index = json.loads((root / INDEX).read_text())
    index["parts"]["train"]["sha256"] = hashlib.sha256(table.read_bytes()).hexdigest()
    (root / INDEX).write_text(json.dumps(index))


LABELS, PIXELS = "train-labels-idx1-ubyte", "train-images-idx3-ubyte"
SETS: dict[str, tuple[str, Change, str]] = {  # of which data: what is wrong, and words of it
    "folder: no images": ("folder", emptied, "no images in"),
    "MNIST: images cut": ("mnist", written(PIXELS, lambda old: old[:5000]), "cannot be read"),
    "MNIST: images empty": ("mnist", written(PIXELS, b""), "cannot be read"),
    "MNIST: another magic": ("mnist", written(PIXELS, b"GIF89a" * 9), "cannot be read"),
    "MNIST: fewer labels": (
        "mnist", written(LABELS, struct.pack(">II", 2049, 3) + b"\1\2\3"), "3 labels for 400",
    ),
    "MNIST: signed labels": (
        "mnist", written(LABELS, lambda old: old[:2] + b"\x09" + old[3:]), "cannot be read",
    ),
    "MNIST: another class": (
        "mnist", written(LABELS, lambda old: old[:-1] + b"\xc8"), "has label 200",
    ),
    "CIFAR: forged": ("cifar", written("test_batch", batch(data=Attack())), "could run code"),
    "CIFAR: cut": ("cifar", written("test_batch", batch()[:500]), "cannot be read"),
    "CIFAR: a list": ("cifar", written("test_batch", pickle.dumps([1])), "cannot be read"),
    "CIFAR: half an image": (
        "cifar", written("test_batch", batch(data=np.zeros(5000, np.uint8))), "cannot be read",
    ),
    "CIFAR: few labels": ("cifar", written("test_batch", batch(labels=[1])), "but 1 labels"),
    "CIFAR: no labels": ("cifar", written("test_batch", batch(labels=None)), "cannot be read"),
    "shards: not JSON": ("shards", written(INDEX, b"PK"), "is not an index"),
    "shards: too deep": ("shards", written(INDEX, b"[" * 100_000), "is not an index"),
    "shards: parts": ("shards", shard_index(parts=[1]), "is not an index"),
    "shards: classes": ("shards", shard_index(classes=3), "is not an index"),
    "shards: format": ("shards", shard_index(format="genlab shards 9"), "has format"),
    "shards: table": ("shards", written("train.npy", flipped(200)), "is damaged"),
    "shards: forged table": ("shards", forged_table, "is not an index"),
    "shards: tar cut": ("shards", written("*.tar", lambda old: old[:-512]), "bytes"),
    "shards: no tar": ("shards", lambda root: (root / "train-000000.tar").unlink(), "is missing"),
    "shards: no table": ("shards", lambda root: (root / "train.npy").unlink(), "is missing"),
    "shards: other tar": ("shards", written("*.tar", lambda old: bytes(len(old))), "not contain"),
}  # fmt: skip


def opened(kind: str, root: Path, change: Change) -> None:
    """Data of a kind, changed on the disk and read."""
    data: Any
    if kind == "mnist":
        write_idx(root / "MNIST" / "raw")
        data = MNIST(root=str(root), val_size=0, download=False)
    elif kind == "cifar":
        cifar_folder(root)
        data = CIFAR10(root=str(root), val_size=0, download=False)
    else:
        classes(root / "photos", 3)
        if kind == "shards":
            pack(root / "photos", root / "shards", Packing())
        root /= "photos" if kind == "folder" else "shards"
        data = ImageFolder(str(root), 8, val_size=0, test_size=0, workers=0, batch_size=2)
    change(root)
    data.prepare_data()
    data.setup()
    for _ in data.train_dataloader():
        pass


@pytest.mark.parametrize("name", SETS)
def test_data_sets(name: str, tmp_path: Path) -> None:
    kind, change, words = SETS[name]
    with pytest.raises((BrokenDataError, MissingDataError), match=words) as refused:
        quiet(lambda: opened(kind, tmp_path, change))
    assert str(refused.value).count("\n") <= 2
    assert str(tmp_path) in str(refused.value) or "MNIST train" in str(refused.value)


LABEL_FILES: dict[str, str] = {  # content of a labels.json
    "huge": '{"indices": [1' + "0" * 30 + "]}",
    "nested": '{"indices": [[1]]}',
    "fractions": '{"indices": [0.5]}',
    "words": '{"indices": "12"}',
    "a list": "[1, 2]",
    "deep": "[" * 100_000,
    "twice": '{"indices": [3, 3]}',
    "not there": '{"indices": [9999]}',
    "no JSON": "PK",
}


@pytest.mark.parametrize("name", LABEL_FILES)
def test_label_files(name: str, tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    file.write_text(LABEL_FILES[name])
    with pytest.raises(ValueError, match=r"labels: .*labels\.json") as refused:
        Digits(labels=str(file)).setup()
    assert str(refused.value).count("\n") == 0


def zipped(compression: int) -> bytes:
    """A zip of 64 MB of zeros."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("x/data.pkl", bytes(2**26))
    return buffer.getvalue()


def saved(content: Any) -> bytes:
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


WEIGHTS: dict[str, tuple[bytes, str]] = {  # content of a checkpoint, and words of the refusal
    "empty": (b"", "0 bytes"),
    "a page": (b"<html>", "is a web page"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1", "a git-lfs pointer"),
    "cut": (saved({"state_dict": {"a": torch.zeros(99)}})[:400], "truncated"),
    "a bomb": (zipped(zipfile.ZIP_DEFLATED), "is compressed"),
    "an attack": (pickle.dumps(Attack(), protocol=2), "could run code"),
    "a list": (saved([1]), "no state_dict"),
    "no weights": (saved({"state_dict": 3}), "state_dict is a int"),
    "safetensors": (struct.pack("<Q", 2**40) + b"{}", "cannot be read"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_checkpoints(name: str, tmp_path: Path) -> None:
    content, words = WEIGHTS[name]
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(InputError, match=words) as refused:
        checkpoints.read(tmp_path / "x.ckpt")
    assert str(refused.value).count("\n") == 0


def test_pixels_that_are_no_numbers_are_black(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(IMAGES["part_nan.tif"][0])
    assert decode(tmp_path / "x.tif", Form(2, 1)).tolist() == [[[0, 0], [1, 233]]]


def test_there_are_enough_of_them() -> None:
    assert len(BESIDE) + len(SETS) + len(LABEL_FILES) + len(WEIGHTS) >= 40
