"""The histogram of a critic's slopes: of the last validation, of every image, when asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genlab.callbacks import GradientNorms
from genlab.callbacks.gradient_norms import draw
from tests.methods.programs_wgan_gp import fit, small


def steps_of(folder: Path) -> list[int]:
    pictures = sorted((folder / "pictures").glob("gradient_norms-*.png"))
    return [int(file.stem.rpartition("-")[2]) for file in pictures]


@pytest.mark.parametrize(
    ("every", "steps"),
    [(0, [10]), (2, [6, 10]), (1, [3, 6, 10])],  # ten batches an epoch, three a generator step
)
def test_pictures_of_these_steps(every: int, steps: list[int], tmp_path: Path) -> None:
    watch = GradientNorms(every_n_epochs=every)
    fit(small(), tmp_path, watch, max_epochs=3)
    assert steps_of(tmp_path) == steps
    assert sum(map(len, watch._norms)) == 60  # every validation image


def test_nothing_without_validation(tmp_path: Path) -> None:
    fit(small(), tmp_path, GradientNorms(), limit_val_batches=0)
    assert steps_of(tmp_path) == []


def test_slopes_near_one_and_far_above_look_different(tmp_path: Path) -> None:
    tame, wild = draw(np.linspace(0.9, 1.1, 50), 7), draw(np.linspace(0, 30, 50), 7)
    assert tame.shape == wild.shape == (300, 500, 3)
    assert tame.dtype == np.uint8
    assert not np.array_equal(tame, wild)
    Image.fromarray(tame).save(tmp_path / "x.png")


def test_negative_epochs_are_refused() -> None:
    with pytest.raises(ValueError, match="every_n_epochs must be at least 0, got -1"):
        GradientNorms(every_n_epochs=-1)


@pytest.mark.parametrize("norms", [[1.0, np.inf, np.nan], [np.inf, np.inf]])
def test_slopes_without_end_are_counted_and_end_nothing(norms: list[float]) -> None:
    assert (draw(np.array(norms), 3) < 255).any()
