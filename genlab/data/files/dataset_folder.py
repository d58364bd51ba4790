"""Files of each part of a data set in a folder of Hugging Face's datasets library."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.files.named_parts import files_by_part, part_of
from genlab.files import text_of

SPLITS, STATE = "dataset_dict.json", "state.json"
SUFFIXES = (".parquet", ".arrow")
INDICES = ("_indices_data_files", "_indices_files")  # of versions before 1.6: an order of the rows


def files_of_parts(root: Path) -> dict[str, list[Path]]:
    """The Arrow or Parquet files of ``train``, and of ``val`` and ``test`` if given, in order.

    Three layouts: what ``DatasetDict.save_to_disk`` writes, what ``Dataset.save_to_disk`` writes,
    which is all ``train``; or files below the folder, at any depth, whose names or folders say the
    part: ``data/train-00000-of-00002.parquet``, ``default/test/0000.parquet``. Where none says it
    all are ``train``; other splits are not read.

    Args:
        root: the folder.

    Raises:
        MissingDataError: no such folder, or no such files in it.
        BrokenDataError: a damaged list, no ``train``, or files of several data sets.
    """
    if not root.is_dir():
        raise MissingDataError(
            f"no folder {root}; data.root must be what save_to_disk wrote, or a copy of a data set "
            "of the hub with its Parquet files"
        )
    if (root / SPLITS).is_file():
        return _saved_splits(root)
    if (root / STATE).is_file():
        return {"train": _saved(root)}
    found = files_by_part(root, SUFFIXES)
    if len({file.suffix.lower() for files in found.values() for file in files}) > 1:
        raise BrokenDataError(f"{root} contains both Parquet and Arrow files; name one's folder")
    if not found:
        raise MissingDataError(f"no {STATE} and no Parquet or Arrow files in {root}")
    return found


def _saved_splits(root: Path) -> dict[str, list[Path]]:
    splits = _json(root / SPLITS).get("splits")
    if not isinstance(splits, list) or not all(isinstance(name, str) for name in splits):
        raise BrokenDataError(f"{root / SPLITS} names no splits")
    found: dict[str, list[Path]] = {}
    for name in splits:
        part = part_of(name)
        if part in found:
            raise BrokenDataError(f"{root / SPLITS} has two splits that are {part}")
        if part is not None:
            found[part] = _saved(root / plain_name(name, root / SPLITS))
    if "train" not in found:
        raise BrokenDataError(f"{root} has no split train; there are: {', '.join(splits)}")
    return found


def _saved(folder: Path) -> list[Path]:
    """The files of one saved data set."""
    state = _json(folder / STATE)
    if any(state.get(key) for key in INDICES):
        raise BrokenDataError(f"{folder} keeps an order of its rows apart; save it again")
    try:
        names = [entry["filename"] for entry in state["_data_files"]]
        files = [folder / plain_name(name, folder / STATE) for name in names]
    except (LookupError, TypeError):
        raise BrokenDataError(f"{folder / STATE} lists no data files") from None
    if not files:
        raise BrokenDataError(f"{folder / STATE} lists no data files")
    return files


def plain_name(name: Any, where: Path) -> str:
    """A file's name in a list of files, if it leads to no other folder.

    Args:
        name: the entry of the list.
        where: the list.

    Raises:
        BrokenDataError: it is another path, or no text.
    """
    if not isinstance(name, str) or name in ("", ".", "..") or re.search(r"[/\\\0]", name):
        raise BrokenDataError(f"{where}: {name!r} is not the name of a file next to it")
    return name


def _json(file: Path) -> dict[str, Any]:
    if not file.exists():
        raise MissingDataError(f"no file {file}")
    try:
        content = json.loads(text_of(file))
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise BrokenDataError(f"{file} is not what save_to_disk writes, or is damaged")
    return content
