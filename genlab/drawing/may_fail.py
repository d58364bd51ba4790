"""Images that may fail: a run goes on without one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from genlab.errors import first_line, reason


@contextmanager
def may_fail(name: str) -> Iterator[None]:
    """Go on without an image that cannot be drawn or written, with one line on standard error.

    Args:
        name: name of the image.
    """
    try:
        yield
    except Exception as error:  # a drawing library can fail at anything
        why = reason(error) if isinstance(error, OSError) else first_line(error)
        print(f"warning: {name} is not written: {why}", file=sys.stderr)
