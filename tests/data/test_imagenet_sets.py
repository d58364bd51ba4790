"""ImageNet and TinyImageNet: every layout gives the same images, reasons for what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from genlab.data import BrokenDataError, ImageFolder, ImageNet, MissingDataError, TinyImageNet
from tests.data.sources import (
    assert_equal,
    batches,
    examples,
)

IDS = ("n01443537", "n02119789", "n03444034")
DEVKIT = (2, 3, 1)  # numbers of the classes in the devkit, in another order than their ids'
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
VAL = [label for _, label in examples(9, 50)]


def text(file: Path, *lines: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))


def train(base: Path, inside: str = "") -> None:
    for k, (data, label) in enumerate(examples(24)):
        place = base / "train" / IDS[label] / inside
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{IDS[label]}_{k}.JPEG").write_bytes(data)


def val(base: Path, name: Callable[[int], str], in_classes: bool = False) -> None:
    for k, (data, label) in enumerate(examples(9, 50)):
        file = base / "val" / (IDS[label] if in_classes else "") / name(k)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def val_name(k: int) -> str:
    return f"ILSVRC2012_val_{k + 1:08}.JPEG"


def folders(root: Path) -> None:
    train(root)
    val(root, val_name, in_classes=True)


def devkit(root: Path) -> None:
    """Flat validation images, with the numbers and the MATLAB file of the devkit."""
    train(root)
    val(root, val_name)
    place = root / "ILSVRC2012_devkit_t12" / "data"
    text(place / TRUTH, *(str(DEVKIT[label]) for label in VAL))
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(n, name, "fish", 0) for n, name in zip(DEVKIT, IDS, strict=True)]
    synsets = np.array([*rows, (1001, "n00001740", "entity", 3)], dtype=kinds)
    savemat(place / "meta.mat", {"synsets": synsets.reshape(-1, 1)})


def clsloc(root: Path) -> None:
    """As `devkit`, with the table of the CLS-LOC devkit."""
    train(root)
    val(root, val_name)
    text(root / "devkit" / "data" / TRUTH, *(str(DEVKIT[label]) for label in VAL))
    rows = sorted(f"{name} {n} kit_fox" for n, name in zip(DEVKIT, IDS, strict=True))
    text(root / "devkit" / "data" / "map_clsloc.txt", *rows)


def kaggle(root: Path) -> None:
    base = root / "ILSVRC" / "Data" / "CLS-LOC"
    train(base)
    val(base, val_name)
    rows = [f"ILSVRC2012_val_{k + 1:08},{IDS[label]} 85 1 499 272" for k, label in enumerate(VAL)]
    text(root / "LOC_val_solution.csv", "ImageId,PredictionString", *reversed(rows))


def synset_labels(root: Path) -> None:
    train(root)
    val(root, val_name)
    labels = [IDS[label] for label in VAL]
    text(root / "imagenet_2012_validation_synset_labels.txt", *labels)


def tiny(root: Path) -> None:
    train(root, "images")
    val(root, lambda k: f"images/val_{k}.JPEG")
    rows = [f"val_{k}.JPEG\t{IDS[label]}\t0\t32\t44\t62" for k, label in enumerate(VAL)]
    text(root / "val" / "val_annotations.txt", *rows)
    (root / "test" / "images").mkdir(parents=True)
    (root / "test" / "images" / "test_0.JPEG").write_bytes(examples(1)[0][0])


LAYOUTS: dict[str, tuple[type[ImageNet], Callable[[Path], None]]] = {
    "folders": (ImageNet, folders),
    "devkit": (ImageNet, devkit),
    "clsloc": (ImageNet, clsloc),
    "kaggle": (ImageNet, kaggle),
    "synset labels": (ImageNet, synset_labels),
    "tiny": (TinyImageNet, tiny),
}


def source(kind: type[ImageNet], root: Path, **kwargs: Any) -> ImageNet:
    options: dict[str, Any] = {"batch_size": 4, "seed": 1, "workers": 0, "val_size": 3}
    return kind(str(root), image_size=16, **(options | kwargs))


def by_class(data: ImageNet) -> list[tuple[int, int]]:
    """The sum of every test image with its label, whatever the order."""
    batch = next(iter(data.test_dataloader()))
    sums = batch["image"].flatten(1).long().sum(1)
    return sorted(zip(batch["label"].tolist(), sums.tolist(), strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_images_and_labels(tmp_path: Path, layout: str) -> None:
    kind, make = LAYOUTS[layout]
    make(tmp_path / "set")
    folders(tmp_path / "same")
    (tmp_path / "same" / "val").rename(tmp_path / "same" / "test")
    plain = ImageFolder(str(tmp_path / "same"), 16, batch_size=4, seed=1, workers=0, val_size=3,
                        crop_ratio=0.875)  # fmt: skip
    ours = source(kind, tmp_path / "set", crop_ratio=0.875)
    assert list(ours.classes) == list(IDS)
    count = len(ours.splits()["test"])
    assert count == 9
    assert_equal(batches(ours)[:-1], batches(plain)[:-1])  # training, validation
    assert by_class(ours) == by_class(plain)  # type: ignore[arg-type]


def test_defaults_are_the_papers(tmp_path: Path) -> None:
    assert (ImageNet("x").image_size, ImageNet("x").crop_ratio) == (224, 0.875)
    assert (TinyImageNet("x").image_size, TinyImageNet("x").crop_ratio) == (64, 1.0)


def test_missing_validation_images_are_counted(tmp_path: Path) -> None:
    tiny(tmp_path)
    (tmp_path / "val" / "images" / "val_3.JPEG").unlink()
    with pytest.warns(UserWarning, match=r"1 of 9 images of .*val_annotations\.txt are not in"):
        source(TinyImageNet, tmp_path).setup()


def test_a_folder_of_images_names_the_layout(tmp_path: Path) -> None:
    tiny(tmp_path)
    with pytest.raises(BrokenDataError, match="for this layout there is data=TinyImageNet"):
        ImageFolder(str(tmp_path), 16).setup()


def _append(file: str, line: str) -> Callable[[Path], Any]:
    return lambda root: (root / file).write_text((root / file).read_text() + line)


def _move(file: str) -> Callable[[Path], Any]:
    return lambda root: (root / file).rename(root / f"{file}.old")


def _folder(file: str) -> Callable[[Path], Any]:
    def change(root: Path) -> None:
        (root / file).unlink()
        (root / file).mkdir()

    return change


NOTES, KIT = "val/val_annotations.txt", "ILSVRC2012_devkit_t12/data"
WRONG: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "no annotations": ("tiny", _move(NOTES), "no file .*the classes of the validation images"),
    "cells": ("tiny", _append(NOTES, "val_9.JPEG\n"), "line 10: not a name and a class"),
    "id": ("tiny", _append(NOTES, "val_9.JPEG dog\n"), "line 10: 'dog' is not a WordNet id"),
    "class": ("tiny", lambda r: text(r / NOTES, *(f"val_{k}.JPEG n99999999" for k in range(9))),
              "class 'n99999999', which no training image has"),
    "unnamed": ("tiny", lambda r: (r / "val/images/x.JPEG").touch(),
                "has no class of the validation image x.JPEG"),
    "binary": ("tiny", lambda r: (r / NOTES).write_bytes(b"\xff\xfe\x00"), "cannot be read"),
    "a folder": ("tiny", _folder(NOTES), "cannot be read"),
    "no train folder": ("tiny", _move("train"), "no folder .*train; data.root must contain"),
    "a row short": ("tiny", lambda r: text(r / NOTES, f"val_0.JPEG {IDS[0]}"),
                    "has no class of the validation image val_1.JPEG"),
    "no val": ("tiny", _move("val"), "no folder .*val; data.root must contain train and val"),
    "no train": ("devkit", _move("train"), "no folder .*train; data.root must contain"),
    "no devkit": ("devkit", _move("ILSVRC2012_devkit_t12"), "they require\n.*of the devkit"),
    "no meta": ("devkit", _move(f"{KIT}/meta.mat"), "requires meta.mat or map_clsloc.txt"),
    "meta": ("devkit", lambda r: (r / KIT / "meta.mat").write_bytes(b"MATLAB 5.0" * 99),
             "meta.mat is not the devkit's table"),
    "no synsets": ("devkit", lambda r: savemat(r / KIT / "meta.mat", {"x": 1}),
                   "meta.mat is not the devkit's table"),
    "number": ("devkit", _append(f"{KIT}/{TRUTH}", "77\n"),
               "line 10: '77' is not a class's number"),
    "short": ("devkit", lambda r: text(r / KIT / TRUTH, "2", "3"),
              "has no class of the validation image ILSVRC2012_val_00000003.JPEG"),
    "clsloc": ("clsloc", _append("devkit/data/map_clsloc.txt", "n01443537 x\n"),
               "line 4: not a class and its number"),
    "solution": ("kaggle", _append("LOC_val_solution.csv", "ILSVRC2012_val_00000010\n"),
                 "line 11: not a name and a class"),
    "no classes": ("synset labels", lambda r: [p.rename(r / "train" / p.name)
                                               for p in r.glob("train/*/*")],
                   "no folders of images in"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(tmp_path: Path, case: str) -> None:
    layout, change, message = WRONG[case]
    kind, make = LAYOUTS[layout]
    make(tmp_path / "set")
    change(tmp_path / "set")
    with pytest.raises((BrokenDataError, MissingDataError), match=message) as said:
        source(kind, tmp_path / "set").setup()
    assert len(str(said.value).splitlines()) <= 3
