"""Charts: matplotlib canvases without a window, as images or as files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genlab.files import rewriting

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D


def figure(width: float, height: float, dpi: int = 100) -> Figure:
    """An empty chart of that many inches, without a window and without global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(made)
    return made


def pixels(drawn: Figure) -> np.ndarray:
    """The chart as an image: (H, W, 3) bytes."""
    canvas: Any = drawn.canvas
    with _any_script():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def plain(text: str) -> str:
    """A name as it is: without formulas between dollars, and whatever its bytes."""
    return text.encode("utf-8", "replace").decode().replace("$", r"\$")


@contextmanager
def _any_script() -> Iterator[None]:
    """Draw names in scripts that the font lacks as boxes, without a warning for each letter."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def save(drawn: Figure, file: Path) -> Path:
    """Write the chart in one step and return its path; the suffix is its format, PNG without.

    Raises:
        OSError: the file cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with rewriting(file) as opened, _any_script():
        drawn.savefig(opened, format=file.suffix.lower().removeprefix(".") or "png")
    return file


def palette(count: int) -> Colormap:
    """Colour map of ``count`` classes, called with the class's number; a scale from 21 on."""
    from matplotlib import colormaps

    if count > 20:
        return colormaps["viridis"].resampled(count)
    return colormaps["tab10" if count <= 10 else "tab20"]


def legend_line(label: str, **style: Any) -> Line2D:
    """A line that stands in a legend only."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **style)
