"""A finished run with links, trained once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.proof.forging import fit


@pytest.fixture(scope="session")
def linked_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 40 steps with links at 8, 16, 24 and 32; to be copied, not changed."""
    return fit(tmp_path_factory.mktemp("honest"), trainer__max_epochs=2)
