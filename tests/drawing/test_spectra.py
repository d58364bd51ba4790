"""The chart of spectra: marks at whole numbers of cycles."""

from __future__ import annotations

import pytest
import torch

from genlab.drawing.spectra import drawn


@pytest.mark.parametrize(
    ("cycles", "marks"),
    [(4, ["1", "2", "3", "4"]), (14, ["1", "2", "4", "8"]), (16, ["1", "2", "4", "8", "16"])],
)
def test_frequencies_are_marked_by_whole_numbers(cycles: int, marks: list[str]) -> None:
    power = {name: 1 / torch.arange(1, cycles + 1).float() for name in ("samples", "train", "test")}
    chart = drawn(power, "spectrum")
    chart.canvas.draw()
    assert [text.get_text() for text in chart.axes[0].get_xticklabels(which="both")] == marks
