"""Pictures of points in the plane: dots and densities are where they belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from genlab.callbacks.plane_pictures import PlanePictures
from genlab.data import Digits, Toys
from genlab.drawing import grid, points
from tests.callbacks.tiny import trainer
from tests.methods.programs_flows import small


def test_a_density_is_seen_from_above_with_y_upwards() -> None:
    def log_prob(where: torch.Tensor) -> torch.Tensor:
        return -(where[:, 0, 0, 0] - 1).square() - (where[:, 1, 0, 0] + 2).square()

    found = points.density(log_prob, 4.0, "cpu")
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert abs((column + 0.5) / points.CELLS * 8 - 4 - 1) < 0.05
    assert abs((row + 0.5) / points.CELLS * 8 - 4 + 2) < 0.05


def test_a_grid_of_points_is_a_cloud_of_dots() -> None:
    few, many = (torch.randn(n, 2, 1, 1) for n in (1, 2000))
    white = [(grid.grid(cloud) == 255).mean() for cloud in (few, many)]
    assert white[1] < white[0] - 0.02


def test_a_run_that_never_validates_has_a_last_picture(tmp_path: Path) -> None:
    data = Toys(size=96, held_out=64, batch_size=32)
    run = trainer(tmp_path, PlanePictures(count=50), max_steps=2, limit_val_batches=0)
    run.fit(small("realnvp_toys", optimizer={"lr": 1e-3}), datamodule=data)
    drawn = [p.name for p in (tmp_path / "pictures").iterdir()]
    assert drawn == ["plane-00000002.png"]


def test_densities_have_a_scale_and_panels_a_title() -> None:
    cloud = {"data": torch.randn(50, 2, 1, 1)}

    def log_prob(where: torch.Tensor) -> torch.Tensor:
        return -where.flatten(1).square().sum(1)

    plain, told = (points.draw(cloud, 3.0, log_prob, title=title) for title in ("", "step 10"))
    assert told.shape[0] > plain.shape[0]
    assert (told[:30] < 128).any()
    right = plain[:, -80:]  # beyond the density: the scale's marks
    assert (right < 128).all(2).sum() > 20


def test_plane_draws_at_its_epochs_and_at_the_end_and_nothing_of_images(tmp_path: Path) -> None:
    data = Toys(size=96, held_out=64, batch_size=32)
    run = trainer(tmp_path, PlanePictures(every_n_epochs=2, count=50), max_epochs=3)
    run.fit(small("realnvp_toys", optimizer={"lr": 1e-3}), datamodule=data)
    drawn = sorted(p.name for p in (tmp_path / "pictures").iterdir())
    assert drawn == ["plane-00000006.png", "plane-00000009.png"]
    with Image.open(tmp_path / "pictures" / drawn[0]) as picture:
        assert picture.width > 2.5 * picture.height  # data, samples, density
    run = trainer(
        tmp_path / "digits", PlanePictures(every_n_epochs=1), max_epochs=1, limit_train_batches=1
    )
    run.fit(small("nice"), datamodule=Digits(batch_size=32, limit=160, val_size=100))
    assert not (tmp_path / "digits" / "pictures").exists()
