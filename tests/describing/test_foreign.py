"""Source of installed packages, read without an import."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from genlab.describing import foreign

BASE = '_more = r"""more (int, optional): a number\n    of things"""\n'
MODULE = r'''
from .base import (
    _more,
)

_own = "own (bool): whether."

class Thing:
    """Short."""

Thing.__doc__ = (
    r"""A thing of `Work`_.

    .. math::
        a + b

          c
    """
    + rf"""
    Args:
        {_own}
        {_more}

    .. _Work\: part:
        https://a.org
    """
)
LAST = 1
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "pack_of_things"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .things import Thing as Thing\n")
    (folder / "base.py").write_text(BASE)
    (folder / "things.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return folder.name


def test_a_docstring_below_its_class_is_put_together_from_its_parts(package: str) -> None:
    text = foreign.assigned("Thing", f"{package}.things", MODULE)
    assert text.startswith("A thing of `Work`.\n\nArgs:\n    own (bool): whether.\n    more (int")
    assert "a + b" not in text
    assert text.endswith("Work: part:\n    https://a.org")
    assert foreign.assigned("Other", f"{package}.things", MODULE) == ""
    assert package not in sys.modules


def test_a_name_leads_to_the_module_that_has_it(package: str) -> None:
    start = (foreign.file_of(package) or Path()).read_text()
    assert foreign.exporter("Thing", package, start, package=True) == f"{package}.things"
    assert foreign.exporter("_more", f"{package}.things", MODULE) == f"{package}.base"
    assert foreign.exporter("Thing", f"{package}.things", MODULE) == ""


def test_a_module_that_is_not_installed_has_no_file(package: str) -> None:
    assert foreign.file_of(f"{package}.things") is not None
    assert foreign.file_of(f"{package}.nothing") is None
    assert foreign.file_of("no_such_package") is None
