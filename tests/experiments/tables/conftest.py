"""A small table's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.experiments.tables.made import SMALL


@pytest.fixture
def small(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    return file
