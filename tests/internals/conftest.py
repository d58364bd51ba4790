"""Fixtures of several files here."""

from tests.internals.line import file, outer

__all__ = ["file", "outer"]
