"""Docstrings taken apart."""

from __future__ import annotations

from inspect import cleandoc

from genlab.describing import docstrings

TEXT = cleandoc("""Do a thing.

    More of it
    on two lines.

    Args:
        one, two: numbers.
        three: any of

            *A group*

            - ``a`` (0.1): first, over
              two lines
            - ``b`` or ``c``: second; ``d``: third

        **rest: handed on.

    Logs:
        val/loss (nats, lower): mean over
            images.

    Source: a paper.
    """)


def test_parts() -> None:
    found = docstrings.parse(TEXT)
    assert found.first == "Do a thing"
    assert found.prose == "More of it\non two lines.\n\nSource: a paper."
    args = found.entries("Args")
    assert list(args) == ["one", "two", "three", "**rest"]
    assert args["one"].text == args["two"].text == "numbers."
    assert args["three"].text.startswith("any of\n\n*A group*")
    (logged,) = found.entries("Logs").values()
    assert (logged.name, logged.note) == ("val/loss", "nats, lower")
    assert logged.text == "mean over\nimages."


def test_bullets_are_settings_with_their_defaults() -> None:
    found = docstrings.bullets(docstrings.parse(TEXT).entries("Args")["three"].text)
    assert {name: (one.note, one.text) for name, one in found.items()} == {
        "a": ("0.1", "first, over two lines"),
        "b": ("", "second"),
        "c": ("", "second"),
        "d": ("", "third"),
    }


def test_no_docstring_has_no_parts() -> None:
    assert docstrings.parse("") == docstrings.Docstring()


def test_plain_text_has_no_marks() -> None:
    assert docstrings.plain("``a`` of `b`, :math:`x`") == "a of b, x"


def test_a_section_may_come_first() -> None:
    found = docstrings.parse(
        cleandoc("""
        Args:
            depth: number of blocks.
        """)
    )
    assert found.first == ""
    assert found.entries("Args")["depth"].text == "number of blocks."
