"""Images that may fail: a run goes on without one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from genlab.errors import first_line, reason

_told: set[str] = set()


@contextmanager
def may_fail(name: str) -> Iterator[None]:
    """Go on without an image that cannot be drawn or written, with one line on standard error.

    Args:
        name: name of the image; each name and reason is reported once.
    """
    try:
        yield
    except Exception as error:  # a drawing library can fail at anything
        why = reason(error) if isinstance(error, OSError) else first_line(error)
        line = f"warning: {name} is not written: {why}"
        if line not in _told:
            _told.add(line)
            print(line, file=sys.stderr)
