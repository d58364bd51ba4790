"""A file is the old one or the new one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from genlab.files import replacing


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_replaced_when_all_of_it_is_written(tmp_path: Path, sync: bool) -> None:
    target = tmp_path / "some.json"
    for text in ("first", "second"):
        before = target.read_text() if target.exists() else None
        with replacing(target, sync) as draft:
            draft.write_text(text)
            assert (target.read_text() if target.exists() else None) == before
        assert target.read_text() == text
    assert os.listdir(tmp_path) == ["some.json"]


def test_the_old_file_stays_when_writing_fails(tmp_path: Path) -> None:
    target = tmp_path / "some.json"
    target.write_text("old")

    def fail() -> None:
        with replacing(target) as draft:
            draft.write_text("ne")
            raise OSError("disk is full")

    with pytest.raises(OSError, match="disk is full"):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["some.json"]


def test_a_planted_link_is_not_written_through(tmp_path: Path) -> None:
    other, target = tmp_path / "others", tmp_path / "some.json"
    other.write_text("theirs")
    (tmp_path / f".some.json.{os.getpid()}.tmp").symlink_to(other)
    with replacing(target) as draft:
        draft.write_text("mine")
    assert (other.read_text(), target.read_text()) == ("theirs", "mine")
    assert not target.is_symlink()


def test_a_device_is_written_to_and_stays_one() -> None:
    with replacing(Path(os.devnull)) as draft:
        draft.write_text("nothing")
    assert Path(os.devnull).is_char_device()
