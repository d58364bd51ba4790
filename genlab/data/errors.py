"""What goes wrong with data on disk."""

from __future__ import annotations


class MissingDataError(FileNotFoundError, ValueError):
    """Data that is not where it was looked for; says where to get it and where to put it."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class BrokenDataError(ValueError):
    """Data that is there but cannot be used; names the file or the image."""
