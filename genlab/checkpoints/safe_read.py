"""Safe reading of weights files: no code in them can run."""

from __future__ import annotations

import argparse
import pathlib
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from genlab.errors import CheckpointError, first_line
from genlab.files import check_regular
from genlab.internals import messages

# Other programs' settings that lie next to weights. Those of these packages are read as `_Inert`.
_SETTINGS = re.compile(r"(omegaconf|pytorch_lightning|lightning|lightning_fabric|lightly|solo)\.\w")


class _Inert:
    """Stands for a foreign settings object: built from anything, holds nothing, does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


class _PlainDict:
    """Stands for a foreign dictionary class: becomes a plain dictionary."""

    def __new__(cls, *items: Any) -> dict:  # type: ignore[misc]
        return dict(*items)


# Classes that only keep what they are given, by the names under which files know them.
_HARMLESS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"},
    *((np.float64(0).__reduce__()[0], f"numpy.{c}.multiarray.scalar") for c in ("core", "_core")),
    *((pathlib.PosixPath, f"pathlib.{name}") for name in ("PosixPath", "_local.PosixPath")),
    (_Inert, "typing.Any"),
]


def content(file: Path, unsafe_pickle: bool | None = None) -> Any:
    """Read the content of a weights file, on the CPU.

    Args:
        file: PyTorch's zip or older pickle format, or safetensors, told apart by their content.
        unsafe_pickle: let a pickle build whatever it names, which can run any code in it; None
            where that is not on offer.

    Raises:
        CheckpointError: empty, truncated, not a weights file, or naming objects that could run
            code.
    """
    try:
        check_regular(file)
        with file.open("rb") as stream:
            head = stream.read(64)
        if head[8:9] == b"{" or file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
    except Exception as error:
        raise CheckpointError(f"{file} cannot be read: {first_line(error)}") from None
    _refuse_other_kinds(file, head)
    _refuse_bombs_and_damage(file)
    if unsafe_pickle:
        warnings.warn(
            f"{file} is unpickled in full (unsafe_pickle): code in it runs", UserWarning, 2
        )
        return torch.load(file, map_location="cpu", weights_only=False)
    hint = "" if unsafe_pickle is None else "; unsafe_pickle reads a file that you trust"
    return _read_safely(file, hint)


def _refuse_other_kinds(file: Path, head: bytes) -> None:
    if _is_zip(file) or head.startswith(b"\x80"):  # a pickle
        return
    kinds = {b"<": "a web page", b"version https://git-lfs": "a git-lfs pointer"}
    kind = next((k for start, k in kinds.items() if head.lstrip().startswith(start)), "")
    what = f"is {kind}" if kind else "is truncated or is not a checkpoint"
    raise CheckpointError(f"{file} {what} ({file.stat().st_size} bytes)")


def _is_zip(file: Path) -> bool:
    try:
        return zipfile.is_zipfile(file)
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{file} cannot be read: {first_line(error)}") from None


def _refuse_bombs_and_damage(file: Path) -> None:
    """A zip that unpacks to more than itself, or with other bytes than were written.

    torch stores its entries uncompressed, and checks no checksum when it reads them.
    """
    if not _is_zip(file):
        return
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _refuse_bombs(file, entries)
            checked = any(entry.CRC for entry in entries)  # torch can leave them out: all 0
            damaged = archive.testzip() if checked else None
    except CheckpointError:
        raise
    except Exception as error:  # a flipped bit can ask for an unknown compression, name ...
        raise CheckpointError(f"{file} cannot be read: {first_line(error)}") from None
    if damaged is not None:
        raise CheckpointError(f"{file} is damaged: {damaged} is not as it was written (CRC-32)")


def _refuse_bombs(file: Path, entries: list[zipfile.ZipInfo]) -> None:
    unpacked, size = sum(entry.file_size for entry in entries), file.stat().st_size
    if unpacked > size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError(
            f"{file} is compressed ({size} bytes, unpacked {unpacked}), as torch never writes it: "
            "not read, it could fill the memory"
        )


def _read_safely(file: Path, hint: str) -> Any:
    allowed = list(_HARMLESS)
    while True:
        try:
            with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Detected pickle protocol")
                return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            blocked = messages.refused_global(error)
            if blocked is None:
                reason = "is truncated or is not a checkpoint"
                raise CheckpointError(f"{file} {reason}: {messages.load_reason(error)}") from None
            stand_in = _stand_in(blocked)
            if stand_in in allowed or stand_in is None:
                raise CheckpointError(
                    f"{file} holds {blocked}, not loaded: it could run code{hint}"
                ) from None
            allowed.append(stand_in)
        except Exception as error:  # whatever a damaged file makes the reader stumble over
            raise CheckpointError(f"{file} cannot be read: {messages.load_reason(error)}") from None


def _stand_in(name: str) -> tuple[type, str] | None:
    if not _SETTINGS.match(name):
        return None
    return (_PlainDict if name.endswith("Dict") and "Config" not in name else _Inert, name)
