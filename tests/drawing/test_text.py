"""Text in images: words stay apart and lines fill their room."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from genlab.drawing.text import fitting, length, wrapped, write


def test_words_do_not_touch() -> None:
    """Three empty columns of pixels at least, wherever a space is."""
    picture = Image.new("RGB", (200, 14), "white")
    write(ImageDraw.Draw(picture), (3, 1), "brightness 0.4")
    dark = (np.asarray(picture) < 128).any((0, 2))
    columns = np.flatnonzero(dark)
    assert np.diff(columns).max() > 3
    assert columns[-1] - 3 <= length("brightness 0.4")


def test_a_line_takes_every_word_that_fits() -> None:
    text = "crop of 8% to 100% of the area; flip; grey (20%); solarise (100%)"
    lines = wrapped(text, 150, "  ")
    assert " ".join(line.strip() for line in lines) == text
    assert all(length(line) <= 150 for line in lines)
    for line, after in pairwise(lines):
        assert length(f"{line} {after.split()[0]}") > 150
    assert wrapped(text, 1000) == [text]
    assert wrapped("", 10) == []


def test_what_is_too_long_is_cut_and_unknown_letters_are_marked() -> None:
    assert length(fitting("word " * 20, 50)) <= 50
    assert fitting("word", 50) == "word"
    assert length("漢") == length("?")
