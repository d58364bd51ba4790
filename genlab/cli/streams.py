"""Standard output and error: they may be closed and training goes on; how warnings look."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

CLOSED_PIPE = 141  # 128 + SIGPIPE, as a shell reports `yes | head`
GONE = (errno.EPIPE, errno.EIO)  # a reader that has ended, a terminal that was closed


class _Lasting(io.FileIO):
    """A descriptor that leads to /dev/null once nobody reads it."""

    def write(self, data: Any) -> int:
        """Write, or drop what nobody can read any more."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in GONE:
                raise
        drop(self.fileno())
        return len(memoryview(data).cast("B"))


def _spelt(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].replace("±", "+-")
    try:
        return text.encode("ascii", "surrogateescape"), error.end  # bytes of a file's name
    except UnicodeEncodeError:
        return text.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error("genlab.spelt", _spelt)


def print_anything() -> None:
    """Spell what the terminal's encoding lacks, such as ± in ASCII, where print would fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # closed, or another file by now
                stream.reconfigure(errors="genlab.spelt")


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show warnings as genlab's other lines, ``warning: ...``, without a line of source.

    One of another category than UserWarning says its category and place too.
    """
    before = warnings.showwarning
    warnings.showwarning = _show_warning
    try:
        yield
    finally:
        warnings.showwarning = before


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    text = str(message)
    if not issubclass(category, UserWarning):
        text = f"{category.__name__}: {text} ({filename}:{lineno})"
    with suppress(OSError):
        print(f"warning: {text}", file=file or sys.stderr)


@contextmanager
def lasting() -> Iterator[None]:
    """Let this process print on, whether anybody reads it or not.

    ``genlab fit ... | head``, a pager that is quit and a connection that is lost end nothing.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_lasting, before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


def _lasting(stream: Any) -> Any:
    try:
        stream.flush()
        raw = _Lasting(stream.fileno(), "w", closefd=False)
    except BrokenPipeError:
        drop(stream.fileno())
        return stream
    except (OSError, ValueError, AttributeError):  # not a file: in a notebook, in a test
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=True
    )


def drop(descriptor: int) -> None:
    """Lead a descriptor to /dev/null, for everybody who writes to it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def end_quietly() -> int:
    """Empty the buffers, which Python would fail to write at its end; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            drop(stream.fileno())
    return CLOSED_PIPE
