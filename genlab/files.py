"""Files that are replaced in one step: the old one or the new one, never a part."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import pickletools
import stat
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from genlab.errors import RunError, first_line, reason

MOST_TEXT = 64 * 2**20  # bytes of a file of settings or figures that are read


@contextmanager
def replacing(target: Path, sync: bool = False) -> Iterator[Path]:
    """A path next to ``target`` to write to; it replaces the target when the block ends.

    If the block raises, the former file stays and the new one is removed. A link is replaced, never
    written through; a device below /dev, such as /dev/stdout, is written to directly.

    Args:
        target: the file to replace, in a folder that exists.
        sync: True to have the content on the disk before the name.

    Raises:
        OSError: writing failed, or the target is a folder, a pipe or a device elsewhere.
    """
    followed = target.is_relative_to("/dev") or not target.is_symlink()  # /dev/stdout is a link
    if followed and target.exists() and not target.is_file():
        _check_device(target)
        yield target
        return
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    os.close(new_file(draft))
    try:
        yield draft
        if sync:
            with draft.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def keep_damaged(file: Path) -> Path | None:
    """Copy a file that should be a JSON mapping and is none; None where there is nothing to keep.

    Raises:
        OSError: the copy cannot be written.
    """
    try:
        content = file.read_bytes() if file.is_file() else b"{}"
        if isinstance(json.loads(content), dict):
            return None
    except OSError:
        return None
    except (ValueError, RecursionError):  # of other encodings too
        pass
    kept = file.with_name(f"{file.name}.damaged")
    with replacing(kept) as draft:
        draft.write_bytes(content)
    return kept


def _check_device(target: Path) -> None:
    """Refuse what is not a file, except devices below /dev."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(target))
    if not target.is_relative_to("/dev"):
        raise OSError(errno.EINVAL, f"it is {kind_of(target)}", str(target))


@contextmanager
def rewriting(target: Path, sync: bool = False) -> Iterator[BinaryIO]:
    """As `replacing`, with the new file opened.

    A library that writes to it may turn a full disk into an error of its own, as torch does:
    raised is the first one of the file itself.

    Raises:
        OSError: see `replacing`.
    """
    with replacing(target, sync) as draft, draft.open("wb") as file:
        noted = _Noted(file)
        try:
            yield noted  # type: ignore[misc]
        except Exception:
            if noted.error is None:
                raise
            raise noted.error from None


class _Noted:
    """A file opened for writing that remembers the first error of the system."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write, and note why it fails."""
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        """Flush, and note why it fails."""
        try:
            self.file.flush()
        except OSError as error:
            self.error = self.error or error
            raise

    def fileno(self) -> int:
        """Refuse: Pillow writes to a number once, and takes half a JPEG on a full disk for one."""
        raise io.UnsupportedOperation("fileno")

    def __getattr__(self, name: str) -> object:
        return getattr(self.file, name)


def new_file(file: Path, mode: int = 0o666) -> int:
    """A file that was not there, opened for writing; a link of its name is removed, not followed.

    Args:
        file: path of the file.
        mode: its permissions, less those that the user's umask withholds.
    """
    file.unlink(missing_ok=True)
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)


def kind_of(path: Path) -> str:
    """``a pipe``, ``a device`` ...: what there is in place of a file."""
    mode = os.stat(path).st_mode
    kinds = (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket")
    return next((name for test, name in kinds if test(mode)), "a device")


def check_regular(path: Path) -> None:
    """Refuse what would be read without end, or wait for a writer: pipes and devices.

    Raises:
        OSError: it is one, or it is not there.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, f"it is {kind_of(path)}, not a file", str(path))


def text_of(file: Path) -> str:
    """The text of a small file, without a byte order mark.

    Raises:
        OSError: not a file, or one of more than 64 MiB.
        UnicodeDecodeError: not UTF-8.
    """
    check_regular(file)
    if file.stat().st_size > MOST_TEXT:
        raise OSError(errno.EINVAL, f"it has more than {MOST_TEXT:,} bytes", str(file))
    return file.read_text(encoding="utf-8-sig")


def step_of(file: Path) -> int:
    """The optimiser step that a checkpoint file says it is of, read without torch; -1 for none."""
    return int(_number(file, "global_step", int, -1))


def seconds_of(file: Path) -> float:
    """The time of training over all starts that a checkpoint file says; 0 for none."""
    return _number(file, "seconds", float, 0.0)


def _number(file: Path, name: str, kind: type, default: float) -> float:
    """The number that follows the first ``name`` in a checkpoint, of which nothing is made."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            with archive.open(names[0]) as pickle:
                return _after(pickletools.genops(pickle), name, kind, default)
    except Exception:  # a flipped bit can ask for an unknown compression, name, version ...
        return default


def _after(
    operations: Iterable[tuple[Any, Any, Any]], name: str, kind: type, default: float
) -> float:
    found = False
    for operation, argument, _ in operations:
        if found and isinstance(argument, kind) and "PUT" not in operation.name:
            return float(str(argument))
        found = found or argument == name
    return default


def rows_of(file: Path) -> list[dict[str, str]]:
    """The complete rows of a metrics.csv, as text; none where there is no file, or no header.

    A row that was being written when its program was killed has no end of line.

    Raises:
        RunError: not a table of text.
    """
    try:
        text = text_of(file) if file.exists() else ""
        lines = text[: text.rfind("\n") + 1].splitlines()
        rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = reason(error) if isinstance(error, OSError) else first_line(error)
        raise RunError(f"{file} is damaged: {why}") from None
    if rows and "step" not in rows[0]:
        raise RunError(f"{file} is damaged: its first line names no column step")
    if wide := [number for number, row in enumerate(rows, 2) if None in row]:
        raise RunError(f"{file}, line {wide[0]}: more cells than columns")
    return [row for row in rows if None not in row.values()]


def shown_path(path: Path) -> str:
    """A path in a message: relative to the current folder if it lies below it, and that exists."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return str(path)
    return os.path.relpath(path, here) if path.absolute().is_relative_to(here) else str(path)
