"""Every source that reads files of the user's, with the same small data: 24 to train, 6 to test."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from genlab.data.shards.packing import Packing, pack
from tests.data.sources import NAMES, Example, as_folder, examples

Made = tuple[str, dict[str, Any]]  # name of the class, and its arguments
SIDE = 16
FILES: dict[str, Any] = {"image_size": SIDE, "channels": 3, "workers": 0}


def parts() -> dict[str, list[Example]]:
    """Pictures of the two parts."""
    return {"train": examples(24), "test": examples(6, 50)}


def folder(root: Path) -> Made:
    for part, pictures in parts().items():
        as_folder(root / "photographs" / part, pictures)
    return "ImageFolder", {"root": str(root / "photographs")} | FILES


def shards(root: Path) -> Made:
    folder(root)
    pack(root / "photographs", root / "shards", Packing(megabytes=0.02))
    return "ImageFolder", {"root": str(root / "shards")} | FILES


def rows(root: Path) -> list[dict[str, Any]]:
    """Pictures on the disk, and the rows of a table that lists them."""
    folder(root)
    found = sorted((root / "photographs").rglob("*.jpg"))
    return [
        {"path": str(file.relative_to(root)), "label": file.parent.name,
         "part": file.parent.parent.name} for file in found
    ]  # fmt: skip


def csv(root: Path) -> Made:
    found = rows(root)
    lines = [",".join(found[0]), *(",".join(row.values()) for row in found)]
    (root / "t.csv").write_text("\n".join(lines) + "\n")
    return "ImageTable", {"table": str(root / "t.csv"), "split": "part"} | FILES


def json_lines(root: Path) -> Made:
    (root / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(root)))
    return "ImageTable", {"table": str(root / "t.jsonl"), "split": "part"} | FILES


def parquet(root: Path) -> Made:
    pyarrow = pytest.importorskip("pyarrow")
    found = pyarrow.Table.from_pylist(rows(root))
    pytest.importorskip("pyarrow.parquet").write_table(found, root / "t.parquet")
    return "ImageTable", {"table": str(root / "t.parquet"), "split": "part"} | FILES


def pixels(pictures: Sequence[Example]) -> Any:
    """Pictures as an array (N, H, W, C)."""
    opened = [Image.open(BytesIO(data)) for data, _ in pictures]
    return np.stack([np.asarray(ImageOps.fit(image, (SIDE, SIDE))) for image in opened])


def npz(root: Path) -> Made:
    for part, pictures in parts().items():
        labels = np.array([label for _, label in pictures])
        np.savez(root / f"{part}.npz", images=pixels(pictures), labels=labels)
    return "Arrays", {"images": str(root / "train.npz"), "test_images": str(root / "test.npz")}


def npy(root: Path) -> Made:
    for part, pictures in parts().items():
        np.save(root / f"{part}.npy", pixels(pictures).astype(np.float32) / 255)
        np.save(root / f"{part}_labels.npy", np.array([label for _, label in pictures]))
    names = {"images": "train", "label": "train_labels", "test_images": "test",
             "test_label": "test_labels"}  # fmt: skip
    return "Arrays", {key: str(root / f"{name}.npy") for key, name in names.items()}


def hub(root: Path) -> Made:
    from tests.data.test_hugging_face import hub as written
    from tests.data.test_hugging_face import table

    written(root / "set", **{part: table(pictures) for part, pictures in parts().items()})
    return "HuggingFace", {"root": str(root / "set")} | FILES


def saved(root: Path) -> Made:
    from tests.data.test_hugging_face import save_splits, table

    save_splits(root / "set", **{part: table(pictures) for part, pictures in parts().items()})
    return "HuggingFace", {"root": str(root / "set")} | FILES


def tars(root: Path) -> Made:
    from tests.data.test_web_dataset import members, write

    for part, pictures in parts().items():
        write(root / "tars" / part / "0.tar", members(pictures, "json"))
    return "WebDataset", {"root": str(root / "tars"), "label": "json.meta.label"} | FILES


def imagenet(root: Path) -> Made:
    from tests.data.test_imagenet_sets import devkit

    devkit(root / "set")
    return "ImageNet", {"root": str(root / "set")} | FILES


def tiny_imagenet(root: Path) -> Made:
    from tests.data.test_imagenet_sets import tiny

    tiny(root / "set")
    return "TinyImageNet", {"root": str(root / "set")} | FILES


MADE: dict[str, Callable[[Path], Made]] = {
    "folder": folder, "shards": shards, "csv": csv, "json lines": json_lines, "parquet": parquet,
    "npz": npz, "npy": npy, "hub": hub, "save_to_disk": saved, "tars": tars,
    "imagenet": imagenet, "tiny imagenet": tiny_imagenet,
}  # fmt: skip
CLASSES = len(NAMES)


def words(made: Made) -> list[str]:
    """A source on the command line."""
    name, arguments = made
    values = ((key, value if isinstance(value, str) else json.dumps(value))
              for key, value in arguments.items())  # fmt: skip
    return [f"data={name}", *(f"data.{key}={value}" for key, value in values)]
