"""Radial spectra of sets of images, as a chart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from genlab.drawing.charts import figure, plain, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW = 8  # cycles that are all marked; of more, the powers of two
STYLES = {"samples": ("tab:orange", "-"), "train": ("0.2", "-"), "test": ("0.5", "--")}
NAMES = {"samples": "samples", "train": "training images", "test": "test images"}


def draw(power: Mapping[str, Tensor], file: Path, title: str) -> Path:
    """Write mean power against frequency, both on logarithmic axes, and return the path.

    Args:
        power: mean power at 1, 2 ... cycles an image of ``samples``, ``train`` and ``test``; a set
            of zeros, such as black images, is left out.
        file: PNG to write.
        title: text above.
    """
    return save(drawn(power, title), file)


def drawn(power: Mapping[str, Tensor], title: str) -> Figure:
    """The chart of `draw`, its frequencies marked by whole numbers of cycles."""
    chart = figure(5.5, 4, dpi=120)
    axes = chart.add_subplot()
    for name, (colour, line) in STYLES.items():
        values = power[name]
        if bool((values > 0).any()):
            cycles = range(1, len(values) + 1)
            axes.loglog(cycles, values.numpy(), line, color=colour, label=NAMES[name])
    most = max((len(values) for values in power.values()), default=1)
    marks = [n for n in range(1, most + 1) if most <= FEW or n & (n - 1) == 0]
    axes.set_xticks(marks, [str(n) for n in marks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("frequency (cycles an image)")
    axes.set_ylabel("mean power (levels squared)")
    axes.set_title(plain(title))
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    return chart
