"""Parts of a report: texts, tables, charts and images. Every string is text, never HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Args:
        text: its text.
        value: number that the table sorts by; None to sort by the text.
    """

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """A table; its columns sort where there is more than one row.

    Args:
        columns: headings.
        rows: cells, those of a row together.
        wide: number of leading columns whose text may break.
        caption: sentence below it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    wide: int = 1
    caption: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class Chart:
    """A chart of `charts`.

    Args:
        title: its title.
        spec: data that the script draws.
        text: caption, which is also read to those who do not see the chart.
    """

    title: str
    spec: dict[str, Any]
    text: str = ""
    kind: str = "chart"


@dataclass(frozen=True)
class Frame:
    """An image of a page.

    Args:
        label: caption of this image, ``step 3,000``.
        source: ``data:`` address.
        width: pixels.
        height: pixels.
    """

    label: str
    source: str
    width: int
    height: int


@dataclass(frozen=True)
class Images:
    """An image, or several of one kind behind a slider.

    Args:
        title: its title.
        frames: the images in order.
        text: caption.
        start: index of the image that is shown at first; the last one by default.
    """

    title: str
    frames: Sequence[Frame]
    text: str = ""
    start: int = -1
    kind: str = "images"


@dataclass(frozen=True)
class Facts:
    """Names with a value each."""

    pairs: Sequence[tuple[str, str]]
    kind: str = "facts"


@dataclass(frozen=True)
class Cards:
    """Numbers that are to be seen first: name, value, remark."""

    items: Sequence[tuple[str, str, str]]
    kind: str = "cards"


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: str = "text"


@dataclass(frozen=True)
class Code:
    """Lines to type."""

    text: str
    kind: str = "code"


@dataclass(frozen=True)
class Fold:
    """Blocks that are shown when the reader asks for them."""

    title: str
    blocks: Sequence[Any]
    kind: str = "fold"


@dataclass(frozen=True)
class Row:
    """Blocks next to each other where the window is wide enough."""

    blocks: Sequence[Any]
    kind: str = "row"


@dataclass(frozen=True)
class Section:
    """A part of a page under a heading."""

    title: str
    blocks: Sequence[Any]


@dataclass(frozen=True)
class Report:
    """A page.

    Args:
        title: heading and title of the window.
        mark: label next to the heading, such as a run's state.
        lead: sentence below the heading.
        sections: its parts; those without blocks are left out.
    """

    title: str
    lead: str
    sections: Sequence[Section] = field(default_factory=list)
    mark: str = ""
