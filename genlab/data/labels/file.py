"""``labels.json``: the labelled training images of a run, to be used again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from genlab.data.loader import Source
from genlab.data.splits import Rows
from genlab.files import text_of

FILE = "labels.json"  # in a run directory


def record(name: str, source: Source, chosen: Rows, num_classes: int, seed: int) -> dict[str, Any]:
    """Content of ``labels.json``: enough to use the labels again, and to refuse other data."""
    labels = source.labels.numpy()[chosen]
    index = source.index.numpy()[chosen]
    return {
        "data": name,
        "images": len(source),
        "data_sha256": fingerprint(source),
        "seed": seed,
        "labels": len(chosen),
        "counts": np.bincount(labels, minlength=num_classes).tolist(),
        "indices": index.tolist(),
        "sha256": digest(index, labels),
    }


def digest(*arrays: np.ndarray) -> str:
    """SHA-256 of whole numbers, whatever their type and byte order."""
    joined = b"".join(np.ascontiguousarray(a, dtype="<i8").tobytes() for a in arrays)
    return hashlib.sha256(joined).hexdigest()


def fingerprint(source: Source) -> str:
    """Fingerprint of a data set: its labels and positions, not its pixels."""
    return digest(source.index.numpy(), source.labels.numpy())


def rows_of(file: Path, name: str, source: Source, rows: Rows) -> Rows:
    """Rows that a file names by their index.

    Raises:
        ValueError: no such file, not of this kind, of other data, or of held-out images.
    """
    if file.is_dir():
        file /= FILE
    try:
        content = json.loads(text_of(file))
        index = np.array(content["indices"], dtype=np.int64).reshape(-1)
        if not all(type(one) is int for one in content["indices"]):
            raise TypeError("an index is a whole number")
    except FileNotFoundError:
        raise ValueError(f"labels: no file {file}") from None
    except (ValueError, LookupError, TypeError, OSError, OverflowError, RecursionError):
        raise ValueError(f"labels: {file} is not a JSON object with a list of indices") from None
    found = {"data": name, "images": len(source), "data_sha256": fingerprint(source)}
    for key, value in found.items():
        if content.get(key, value) != value:
            raise ValueError(
                f"labels: {file} is of other data: its {key} is {content[key]}, here it is {value}"
            )
    if len(np.unique(index)) < len(index):
        raise ValueError(f"labels: {file} names an image twice")
    place = {int(i): row for row, i in zip(rows, source.index.numpy()[rows], strict=True)}
    strange = [int(i) for i in index if int(i) not in place]
    if strange:
        raise ValueError(
            f"labels: image {strange[0]} of {file} is not among the {len(rows)} training images; "
            "take its run's val_size, split_seed and limit"
        )
    chosen = np.array([place[int(i)] for i in index], dtype=np.int64)
    known = source.labels.numpy()[chosen]
    if (known < 0).any():
        raise ValueError(f"labels: {file} names image {index[known < 0][0]}, which has no label")
    if content.get("sha256") not in (None, digest(index, known)):
        raise ValueError(f"labels: {file} was changed after it was written: sha256 differs")
    return chosen
