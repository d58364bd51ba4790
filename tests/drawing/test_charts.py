"""Charts as images and as files, and matplotlib nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import genlab
from genlab.drawing import charts


def test_a_figure_has_the_asked_for_size_and_shows_what_is_drawn() -> None:
    chart = charts.figure(2, 1, dpi=50)
    assert (charts.pixels(chart) == 255).all()
    chart.add_subplot().plot([0, 1])
    image = charts.pixels(chart)
    assert image.shape == (50, 100, 3)
    assert image.dtype == np.uint8
    assert image.min() < 100


@pytest.mark.parametrize("name", ["a.png", "b.jpg", "plain"])
def test_a_file_holds_the_figure(tmp_path: Path, name: str) -> None:
    chart = charts.figure(2, 1, dpi=50)
    chart.add_subplot().plot([0, 1])
    file = charts.save(chart, tmp_path / "new" / name)
    with Image.open(file) as picture:
        assert picture.size == (100, 50)
        assert picture.format == ("JPEG" if name == "b.jpg" else "PNG")


@pytest.mark.parametrize("count", [2, 10, 11, 20, 21, 100])
def test_every_class_has_a_colour_of_its_own(count: int) -> None:
    colours = charts.palette(count)
    assert len({colours(k) for k in range(count)}) == count


def test_a_legend_line_has_its_label_and_style() -> None:
    line = charts.legend_line("three seeds", linewidth=3)
    assert (line.get_label(), line.get_linewidth()) == ("three seeds", 3)


def test_matplotlib_is_imported_in_this_room_only() -> None:
    root = Path(str(genlab.__file__)).parent
    found = {
        file.relative_to(root).parts[0]
        for file in root.rglob("*.py")
        if re.search(r"^\s*(import|from) matplotlib", file.read_text(), re.MULTILINE)
    }
    assert found == {"drawing"}
