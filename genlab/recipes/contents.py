"""Files and folders that a recipe names, by what is in them and not by where they lie."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

MOST_BYTES = 2**26  # of a file that is hashed whole
PIECES, PIECE = 256, 2**16  # of a larger file
MOST_FILES = 200  # of a folder of weights
MOST_ENTRIES, DEEPEST = 20_000, 4  # of a folder of images
IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".npy"}


class Contents:
    """Contents of paths; ``files`` are the files and folders that were read."""

    def __init__(self) -> None:
        self.files: set[Path] = set()

    def of_text(self, text: str) -> str:
        """A text; for a path to a file or folder what is there.

        Args:
            text: value of a recipe.
        """
        if not 1 < len(text) < 4000 or "\0" in text or "://" in text or text.startswith("hf-hub:"):
            return text
        path = Path(os.path.expanduser(text)) if text.startswith("~") else Path(text)
        if not (len(path.parts) > 1 or path.suffix):
            return text
        try:
            return self._of(path) or text
        except OSError:
            return text

    def _of(self, path: Path) -> str:
        self.files.add(path)
        if path.is_file():
            return f"file {_hash(path)}"
        if not path.is_dir():
            return ""
        inside = path / "checkpoints" if (path / "checkpoints").is_dir() else path
        files = sorted(file for file in inside.rglob("*") if file.is_file())
        self.files |= {*files[:MOST_FILES], *(file.parent for file in files)}
        parts = [f"{file.relative_to(inside)} {_hash(file)}" for file in files[:MOST_FILES]]
        return f"folder {_digest([*parts, str(len(files))])}"

    def listing(self, folder: str) -> str:
        """The folders of a folder of images and how many files each has; other files by size.

        Args:
            folder: path; where there is none, as before a download, the listing is empty.
        """
        top, left = Path(os.path.expanduser(folder)), MOST_ENTRIES
        waiting, lines = [top] if "\0" not in folder else [], list[str]()
        while waiting and left > 0:
            place = waiting.pop()
            self.files.add(place)
            inside, count, others = _entries(place)
            name = place.relative_to(top)
            if len(name.parts) < DEEPEST:
                waiting += [place / one for one in reversed(inside)]
            left -= count
            self.files |= {place / one.rpartition(" ")[0] for one in others}
            lines += [f"{name} {count}", *inside, *others] if inside or count else []
        return _digest(lines) if lines else ""


def _entries(place: Path) -> tuple[list[str], int, list[str]]:
    """A folder's folders, the number of its files, and those of other kinds than images."""
    folders, count, others = list[str](), 0, list[str]()
    try:
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.name)
                    continue
                count += 1
                if os.path.splitext(entry.name)[1].lower() not in IMAGES:
                    others.append(f"{entry.name} {entry.stat().st_size}")
    except OSError:
        return [], 0, []
    return sorted(folders), count, sorted(others) if len(others) <= MOST_FILES else []


def _hash(file: Path) -> str:
    """SHA-256 of a file; of a large one that of its size and of pieces all over it."""
    size = file.stat().st_size
    if size <= MOST_BYTES:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    found = hashlib.sha256(str(size).encode())
    with file.open("rb") as stream:
        for k in range(PIECES):
            stream.seek(k * (size - PIECE) // (PIECES - 1))
            found.update(stream.read(PIECE))
    return found.hexdigest()


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
