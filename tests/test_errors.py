"""What an error says in one line."""

from __future__ import annotations

from genlab.errors import first_line


def test_the_first_line_that_says_something() -> None:
    assert first_line(ValueError("\n  no such key \nand a page of advice")) == "no such key"
    assert first_line(KeyError()) == "KeyError"
    assert first_line(OSError(" \n ")) == "OSError"
    assert len(first_line(ValueError("x" * 10**6))) == 200
