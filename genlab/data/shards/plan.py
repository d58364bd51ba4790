"""Plan of a packing: a call goes on with an interrupted one of the same images and settings."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

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
