"""Arrays: any layout, depth and number of channels become images in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genlab.data import Arrays, BrokenDataError, MissingDataError

RNG = np.random.default_rng(0)
LEVELS = RNG.integers(0, 256, (40, 3, 6, 6), dtype=np.uint8)
SPLITS: tuple[Any, ...] = ("train", "val", "test")
LABELS = np.arange(40) % 4


def saved(folder: Path, images: Any = LEVELS, labels: Any = LABELS, name: str = "x.npz") -> str:
    file = folder / name
    if file.suffix == ".npz":
        np.savez(file, images=images, **({} if labels is None else {"labels": labels}))
    else:
        np.save(file, images)
        if labels is not None:
            np.save(folder / "labels.npy", labels)
    return str(file)


def every(data: Arrays) -> torch.Tensor:
    """All images in their order, as a step gets them."""
    found = [batch for split in SPLITS for batch in data.batches(split)]
    image = torch.cat([batch["image"] for batch in found])
    return image[torch.cat([batch["index"] for batch in found]).argsort()]


def data_of(file: str, **kwargs: Any) -> Arrays:
    return Arrays(file, **({"batch_size": 1, "val_size": 4, "test_size": 4} | kwargs))


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (LEVELS, LEVELS / 255),
        (LEVELS.transpose(0, 2, 3, 1), LEVELS / 255),
        (LEVELS[:, 0], LEVELS[:, :1] / 255),
        (LEVELS.astype(np.uint16) * 257, LEVELS / 255),
        ((LEVELS.astype(np.uint16) * 257).astype(">u2"), LEVELS / 255),
        ((LEVELS / 255).astype(">f4"), LEVELS / 255),
        (LEVELS.astype(np.float64) / 255, LEVELS / 255),
        (LEVELS.astype(np.float32)[:, :1] / 255, LEVELS[:, :1] / 255),
        (np.repeat(LEVELS, 4, 1).transpose(0, 2, 3, 1), np.repeat(LEVELS, 4, 1) / 255),
    ],
    ids=[
        "bytes",
        "last",
        "grey",
        "16 bits",
        "big-endian",
        "big-endian floats",
        "doubles",
        "one channel",
        "12 channels",
    ],
)
def test_what_is_stored_is_what_a_step_gets(tmp_path: Path, stored: Any, expected: Any) -> None:
    for name in ("x.npz", "x.npy"):
        file = saved(tmp_path, stored, name=name)
        data = data_of(file, label=None if name == "x.npz" else str(tmp_path / "labels.npy"))
        assert (data.channels, data.image_size, data.num_classes) == (expected.shape[1], 6, 4)
        torch.testing.assert_close(every(data), torch.from_numpy(expected).float())
        assert next(data.batches("train"))["label"].item() in range(4)


def test_a_span_of_floats(tmp_path: Path) -> None:
    file = saved(tmp_path, LEVELS / 127.5 - 1)
    with pytest.raises(BrokenDataError, match=r"floats are in -1 \.\.\. 1, not in 0 \.\.\. 1"):
        data_of(file).setup()
    found = every(data_of(file, span=(-1.0, 1.0)))
    torch.testing.assert_close(found, torch.from_numpy(LEVELS / 255).float())


@pytest.mark.parametrize("stored", [LEVELS, LEVELS / 255], ids=["bytes", "floats"])
def test_views_and_augmentation_are_drawn_once(tmp_path: Path, stored: Any) -> None:
    """Floats go the way of bytes: the same views of the same values."""
    options: dict[str, Any] = {"batch_size": 8, "views": "simclr_cifar", "seed": 1}
    one = next(data_of(saved(tmp_path), **options).batches("train"))
    two = next(data_of(saved(tmp_path, stored), **options).batches("train"))
    for a, b in zip(one["views"], two["views"], strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


@pytest.mark.parametrize("binarize", ["fixed", "dynamic"])
@pytest.mark.parametrize("stored", [LEVELS.astype(np.uint16) * 257, LEVELS / 255])
def test_pixels_are_drawn_as_those_of_bytes(tmp_path: Path, stored: Any, binarize: Any) -> None:
    options: dict[str, Any] = {"batch_size": 8, "binarize": binarize, "seed": 1}
    one, other = data_of(saved(tmp_path), **options), data_of(saved(tmp_path, stored), **options)
    for split in SPLITS:
        images = [next(data.batches(split))["image"] for data in (one, other)]
        assert 0.4 < images[0].mean() < 0.6
        assert torch.equal(*images)


def test_a_file_that_is_changed_changes_no_image(tmp_path: Path) -> None:
    file = saved(tmp_path, labels=None, name="x.npy")
    data = data_of(file, test_images=file)
    data.setup()
    np.lib.format.open_memmap(file)[:] = 0
    assert next(data.batches("test"))["image"].any()
    assert next(data.batches("train"))["image"].any()


def test_a_test_file_and_unknown_labels(tmp_path: Path) -> None:
    known = LABELS.copy()
    known[:5] = -1
    (tmp_path / "test").mkdir()
    test = saved(tmp_path / "test", LEVELS[:7], LABELS[:7])
    data = data_of(saved(tmp_path, labels=known), test_images=test, val_size=0.2)
    data.setup()
    assert {name: len(rows) for name, rows in data.splits().items()} == {
        "train": 33, "val": 7, "test": 7
    }  # fmt: skip
    assert sum(data.class_counts) == 35 - 7


def test_without_labels(tmp_path: Path) -> None:
    data = data_of(saved(tmp_path, labels=None))
    assert data.num_classes == 0
    assert next(data.batches("train"))["label"].item() == -1


WRONG: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "not square": (LEVELS[:, :, :5], LABELS, {"layout": "NCHW"}, "must be square"),
    "40 channels": (np.zeros((4, 40, 6, 6)), LABELS[:4], {"layout": "NCHW"}, "1 to 32 channels"),
    "whole numbers": (LEVELS.astype(np.int64), LABELS, {}, "int64, not uint8, uint16 or float"),
    "in doubt": (LEVELS[:, :3, :3, :3], LABELS, {}, "either NHWC or NCHW: set data.layout"),
    "flat": (LEVELS.reshape(40, -1), LABELS, {}, "not images"),
    "nan": (np.where(np.arange(40)[:, None, None] == 7, np.nan, np.zeros((40, 6, 6))), LABELS, {},
            "image 7 contains NaN"),
    "labels": (LEVELS, LABELS[:7], {}, "7 labels for 40 images"),
    "float labels": (LEVELS, LABELS / 2, {}, "labels are float64"),
    "key": (LEVELS, LABELS, {"key": "image"}, "no array 'image'.*did you mean images"),
    "objects": (np.array([{}] * 4, dtype=object), LABELS[:4], {}, "contains Python objects"),
    "layout": (LEVELS, LABELS, {"layout": "NHW"}, "is not NHW"),
    "unknown": (LEVELS, LABELS - 7, {}, "image 0 has label -7; labels are 0 to"),
    "huge": (LEVELS, LABELS + 10**9, {}, "label 1000000003 is not below 1,000,000"),
    "wrapping": (LEVELS, ~LABELS.astype(np.uint64), {}, "label 18446744073709551615 is"),
    "two labels": (LEVELS, LABELS.reshape(20, 2), {}, r"int64 of shape \(20, 2\), not whole"),
    "no images": (LEVELS[:0], LABELS[:0], {}, "0 images of 3 x 6 x 6"),
    "other test": (
        LEVELS,
        LABELS,
        {"test_images": "other.npz"},
        "images are .*4, 4.*training .*6, 6",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(tmp_path: Path, case: str) -> None:
    images, labels, options, message = WRONG[case]
    if other := options.get("test_images"):
        options = {"test_images": saved(tmp_path, LEVELS[:, :, :4, :4], name=other)}
    with pytest.raises(BrokenDataError, match=message) as said:
        data_of(saved(tmp_path, images, labels), **options).setup()
    assert len(str(said.value).splitlines()) == 1
    assert f"{tmp_path}/" in str(said.value)


def _torn(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _spoilt(data: bytes) -> bytes:
    return data[:900] + bytes(200) + data[1100:]


@pytest.mark.parametrize(
    ("name", "spoil"),
    [("x.npz", _spoilt), *((name, spoil) for name in ("x.npy", "x.npz")
                           for spoil in (_torn, lambda data: b"", lambda data: b"text"))],
)  # fmt: skip
def test_files_that_are_none(tmp_path: Path, name: str, spoil: Callable[[bytes], bytes]) -> None:
    file = Path(saved(tmp_path, LEVELS[:, 0], name=name))
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(BrokenDataError, match=r"is not a NumPy file of numbers|Python objects"):
        data_of(str(file)).setup()
    with pytest.raises(MissingDataError, match="no file"):
        data_of(f"{file}.npy")


def test_the_content_says_which_kind_a_file_is(tmp_path: Path) -> None:
    (Path(saved(tmp_path, name="x.npy"))).rename(tmp_path / "y.npz")
    (Path(saved(tmp_path, name="x.npz"))).rename(tmp_path / "z.npy")
    label = str(tmp_path / "labels.npy")
    one, other = (data_of(str(tmp_path / name), label=label) for name in ("y.npz", "z.npy"))
    assert torch.equal(every(one), every(other))


def test_few_labels_and_the_file_of_labels_are_told_apart(tmp_path: Path) -> None:
    file = saved(tmp_path, name="x.npy")
    with pytest.raises(ValueError, match=r"labels '.*npy' must be how many .*label names the file"):
        data_of(file, labels=str(tmp_path / "labels.npy"))
