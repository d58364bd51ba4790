"""A weights file is read as it was written, or not at all."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.checkpoints.safe_read import content
from genlab.errors import CheckpointError


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.ckpt"
    torch.save({"step": 7, "state_dict": {"w": torch.randn(8, 8), "b": torch.randn(8)}}, path)
    return path


def test_no_flipped_bit_is_read_with_other_content(file: Path) -> None:
    """Torch checks no checksum: half of them were."""
    expected, data, draw = content(file), file.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(300):
        damaged, bit = bytearray(data), draw.randrange(8 * len(data))
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        try:
            found = content(file)
        except CheckpointError:
            refused += 1
        else:
            assert equal(found, expected)  # a date, padding
    assert refused > 100


def test_a_file_without_checksums_is_read(file: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(3)}, file)
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(content(file)["w"], torch.ones(3))


def test_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ckpt")
    for name in (tmp_path / "pipe.ckpt", Path("/dev/zero"), tmp_path):
        with pytest.raises(CheckpointError, match="not a file"):
            content(name)
