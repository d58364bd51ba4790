"""Undocumented parts of Python's library, of PyYAML and of the C library."""

from __future__ import annotations

import argparse
import ctypes
import tarfile
from collections.abc import Iterable

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


def option_names(parser: argparse.ArgumentParser) -> list[str]:
    """Every option string of a parser; argparse has no public list of them."""
    return list(getattr(parser, "_option_string_actions", ()))


def actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Options and arguments of a parser, in order; argparse has no public list of them."""
    return list(getattr(parser, "_actions", ()))


def drop_resolver(loader: type, tag: str) -> None:
    """Take a tag's patterns from those by which a YAML loader knows the type of a plain scalar.

    PyYAML can add resolvers, and has no function that takes one away.

    Args:
        loader: a class of its own: its base's resolvers stay.
        tag: such as ``tag:yaml.org,2002:bool``.
    """
    loader.yaml_implicit_resolvers = {  # type: ignore[attr-defined]
        first: [(name, pattern) for name, pattern in resolvers if name != tag]
        for first, resolvers in loader.yaml_implicit_resolvers.items()  # type: ignore[attr-defined]
    }


def end_of_archive(tar: tarfile.TarFile) -> int:
    """The byte at which the next member of an archive will begin."""
    return int(tar.offset)


def forget_members(tar: tarfile.TarFile) -> None:
    """Free the headers that tarfile keeps of every member it has written or read."""
    tar.members = []  # type: ignore[attr-defined]


def mallopt(choices: Iterable[tuple[int, int]]) -> bool:
    """Set the first of ``(parameter, value)`` that glibc's malloc takes; False without glibc."""
    function = getattr(ctypes.CDLL(None), "mallopt", None)
    return function is not None and any(function(*choice) for choice in choices)
