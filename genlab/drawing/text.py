"""Text in images, in the built-in font of Pillow."""

from __future__ import annotations

from PIL import Image, ImageDraw

LINE = 14  # pixels of a line of text


def write(pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str, anchor: str = "la") -> None:
    """Write black text; the font's spaces of two pixels are doubled, else they vanish."""
    pen.text(place, _shown(text), "black", anchor=anchor)


def length(text: str) -> float:
    """Pixels that `write` takes across."""
    return ImageDraw.Draw(Image.new("L", (1, 1))).textlength(_shown(text))


def fitting(text: str, width: int) -> str:
    """The text, cut where it is wider than that many pixels."""
    while length(text) > width and text:
        text = text[:-1]
    return text


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Lines, broken at spaces, of at most that many pixels; all but the first after ``indent``."""
    lines = list[str]()
    for word in text.split():
        if lines and length(longer := f"{lines[-1]} {word}") <= width:
            lines[-1] = longer
        else:
            lines.append(f"{indent}{word}" if lines else word)
    return lines


def _shown(text: str) -> str:
    """Letters that the font has."""
    return text.encode("latin-1", "replace").decode("latin-1").replace(" ", "  ")
