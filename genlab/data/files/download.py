"""Atomic downloads: complete or absent."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from genlab.data.errors import MissingDataError
from genlab.errors import first_line

TIMEOUT = 20.0  # seconds without an answer; urllib alone would wait for ever


def location(root: Path, *parts: str) -> Path:
    """The absolute path for a message."""
    return Path(os.path.abspath(root.joinpath(*parts)))


def fetch(root: Path, wanted: Path, download: Callable[[Path], None]) -> None:
    """Download into a folder next to ``root``'s files, then move the files into place.

    Args:
        root: folder of the files.
        wanted: description of the missing data, for the message.
        download: function that writes the files below a folder.

    Raises:
        MissingDataError: no network, a broken download, or a folder that cannot be written.
    """
    made = _make(root, wanted)
    staging = Path(tempfile.mkdtemp(prefix=".download-", dir=root))
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        download(staging)
        for file in [file for file in staging.rglob("*") if file.is_file()]:
            target = root / file.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, target)
    except (OSError, RuntimeError, EOFError) as error:
        raise MissingDataError(
            f"no data at {wanted}, and the download failed: {first_line(error)}\n"
            "fetch it on a machine with a network and copy it there, "
            "or name the folder that contains it\nwith data.root=DIR or GENLAB_DATA=DIR"
        ) from None
    finally:
        socket.setdefaulttimeout(before)
        shutil.rmtree(staging, ignore_errors=True)
        for folder in made:
            _remove_if_empty(folder)


def _make(root: Path, wanted: Path) -> list[Path]:
    """Create ``root``; returns the new folders, innermost first."""
    new = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not os.access(root, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise MissingDataError(
            f"no data at {wanted}, and nothing can be written there: {error.strerror}\n"
            "name a folder that contains it, or that can be written, "
            "with data.root=DIR or GENLAB_DATA=DIR"
        ) from None
    return new


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
