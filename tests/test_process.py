"""Notes of a process: at once, at the end of what holds them, or dropped where that fails."""

from __future__ import annotations

import gc

import pytest

from genlab import process


def test_garbage_is_collected_rarely_until_it_is_collected_as_usual() -> None:
    usual = gc.get_threshold()
    try:
        process.collect_as_usual()
        assert gc.get_threshold() == usual
        process.collect_rarely()
        assert gc.get_threshold() == process.RARELY
        process.collect_as_usual()
        assert gc.get_threshold() == usual
        gc.set_threshold(500, 5, 5)  # of a user's own: it stays
        process.collect_as_usual()
        assert gc.get_threshold() == (500, 5, 5)
    finally:
        gc.set_threshold(*usual)


def test_notes_wait_for_the_outermost_block(capsys: pytest.CaptureFixture[str]) -> None:
    process.note("at once")
    assert capsys.readouterr().err == "at once\n"
    with process.notes_held():
        process.note("one")
        with process.notes_held():
            process.note("two")
        assert capsys.readouterr().err == ""
    assert capsys.readouterr().err == "one\ntwo\n"


def test_notes_of_a_failure_are_dropped_and_can_be_said_later(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @process.notes_held()
    def failing() -> None:
        process.note("held", once=True)
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            failing()
    assert capsys.readouterr().err == ""
    for _ in range(2):
        with process.notes_held():
            process.note("held", once=True)
            process.note("held", once=True)
    assert capsys.readouterr().err == "held\n"


def test_only_the_first_process_says_notes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    process.note("nothing")
    assert capsys.readouterr().err == ""
