"""Which checkpoint files are whole, and what else may lie among them."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from genlab import runs


def test_a_checkpoint_with_any_flipped_bit_is_not_whole(tmp_path: Path) -> None:
    """A flip can ask for an unknown compression, version or name, not only break a checksum."""
    whole, flipped = tmp_path / "last.ckpt", tmp_path / "flipped.ckpt"
    torch.save({"state_dict": {"w": torch.ones(40)}}, whole)
    assert runs.whole(whole)
    content = whole.read_bytes()
    answers = set()
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        flipped.write_bytes(damaged)
        answers.add(runs.whole(flipped))
    assert False in answers


def test_pipes_and_devices_among_checkpoints_are_passed_over(tmp_path: Path) -> None:
    folder = runs.make(tmp_path) / "checkpoints"
    torch.save({}, folder / "last.ckpt")
    os.mkfifo(folder / "pipe.ckpt")
    (folder / "zero.ckpt").symlink_to("/dev/zero")
    (folder / "gone.ckpt").symlink_to("nowhere")
    assert runs.newest(tmp_path) == folder / "last.ckpt"
    assert not any(runs.whole(folder / name) for name in ("pipe.ckpt", "zero.ckpt", "gone.ckpt"))
    os.mkfifo(tmp_path / "run.json")
    assert runs.read_json(tmp_path / "run.json") == {}
