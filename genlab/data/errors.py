"""Errors of data on disk."""

from __future__ import annotations


class MissingDataError(FileNotFoundError, ValueError):
    """Missing data; the message says where to get it and where to put it."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class BrokenDataError(ValueError):
    """Unusable data; the message names the file or the image."""
