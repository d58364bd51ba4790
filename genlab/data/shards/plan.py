"""Plan of a packing: a call goes on with an interrupted one of the same images and settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genlab.data.files.folder_scan import Listing
from genlab.data.shards.index import FORMAT


def prepare(work: Path, parts: dict[str, Listing], settings: dict[str, Any]) -> None:
    """Keep the shards of an interrupted call with the same settings and images, and of no other.

    Args:
        work: the folder in which shards are made.
        parts: images by part.
        settings: arguments that change the shards.
    """
    plan = hashlib.sha256(json.dumps([FORMAT, settings, sorted(parts)]).encode())
    for listing in parts.values():
        for file, label, state in zip(listing.files, listing.labels, listing.states(), strict=True):
            text = f"{file}\0{label}\0{state}\n"
            plan.update(text.encode("utf-8", "surrogateescape"))  # names of any bytes
    mark = work / "plan"
    if mark.is_file() and mark.read_text() == plan.hexdigest():
        return
    for file in work.glob("[!.]*"):  # not the lock
        file.unlink()
    mark.write_text(plan.hexdigest())


def kept(
    work: Path, name: str, order: Sequence[int], again: Callable[[list[int]], bool]
) -> list[dict[str, Any]]:
    """Records of a part's whole shards, up to the first that is to be written again.

    Args:
        work: the folder in which shards are made.
        name: the part.
        order: positions of its images in the order of packing.
        again: function of the images that a shard left out; True if it is to be written again.
    """
    files = sorted(work.glob(f"{name}-*.tar.json"))
    records = [json.loads(file.read_text()) for file in files]
    start = 0
    for number, record in enumerate(records):
        images = np.load(work / f"{record['name']}.npy")["index"].tolist()
        left = set(order[start : record["next"]]) - set(images)
        if left and again(sorted(left)):
            for file in reversed(files[number:]):  # what remains of them is the first
                file.unlink()
            return records[:number]
        start = record["next"]
    return records
