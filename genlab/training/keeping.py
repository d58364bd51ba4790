"""The limit of what runs keep for looking back, applied when one has ended or stopped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from genlab import process
from genlab.files import shown_path

if TYPE_CHECKING:
    from genlab.training.building import Lab


@contextmanager
def within_limit(lab: Lab) -> Iterator[None]:
    """A training at whose end the oldest links and captures go, see ``track.keep_gb``."""
    try:
        yield
    finally:
        limit = lab.tracking.keep_gb
        if limit is not None and process.is_first():
            from genlab.runs.limits import keep_within

            for one in keep_within(lab.recipe.runs, limit):
                print(
                    f"removed for track.keep_gb={limit:g}: {shown_path(one.path)}", file=sys.stderr
                )
