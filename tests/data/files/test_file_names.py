"""Paths in little memory behave like a list of paths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genlab.data.files.file_names import FileNames

PATHS = [Path("/a/x.png"), Path("/a/y.png"), Path("/b/c/x.png"), Path("/a/ü.jpg")]


def test_they_are_the_paths() -> None:
    names = FileNames.of(PATHS)
    assert list(names) == PATHS
    assert (len(names), names[-1]) == (4, PATHS[-1])
    assert list(names[1:3]) == PATHS[1:3]
    with pytest.raises(IndexError):
        names[4]


def test_parts_of_parts_and_sums() -> None:
    names = FileNames.of(PATHS)
    part = names.subset(np.array([3, 0, 2]))
    assert list(part) == [PATHS[3], PATHS[0], PATHS[2]]
    assert list(part.subset(np.array([2, 2]))) == [PATHS[2], PATHS[2]]
    assert list(part + names[1:2]) == [PATHS[3], PATHS[0], PATHS[2], PATHS[1]]
    assert not FileNames.of([])
