"""Images of a task are drawn of the same validation images, and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.callbacks import TaskPictures
from genlab.methods.rotation import Rotation
from tests.callbacks.programs_watching import digits
from tests.callbacks.tiny import trainer
from tests.methods.programs_ssl import CNN, same_state, small


def fit(folder: Path, *callbacks: Any) -> Rotation:
    torch.manual_seed(1)
    method = Rotation(**CNN)
    trainer(folder, *callbacks).fit(method, datamodule=digits(views=None))
    return method


def test_rows_of_input_target_and_output(tmp_path: Path) -> None:
    method = fit(tmp_path, TaskPictures(every_n_epochs=1, count=3))
    first, last = sorted((tmp_path / "pictures").glob("task-*.png"))
    with Image.open(last) as picture:
        found = np.asarray(picture)
    assert found.shape == (14 + 3 * 98 + 2, 3 * 98 + 2, 3)
    data = digits(views=None)
    loader: Any = data.val_dataloader()
    images = next(iter(loader))["image"][:3]
    for row in range(3):  # the target is the image itself
        top = 14 + 98 * row + 2
        assert np.array_equal(found[top : top + 96 : 12, 100:196:12, 0], images[row, 0].numpy())
    assert first.name != last.name
    assert not same_state(fit(tmp_path / "without").state_dict(), method.state_dict())


def test_methods_without_a_task_are_left_alone(tmp_path: Path) -> None:
    trainer(tmp_path, TaskPictures()).fit(small("simclr"), datamodule=digits())
    assert not (tmp_path / "pictures").exists()


def test_no_row_is_refused() -> None:
    with pytest.raises(ValueError, match="count must be at least 1"):
        TaskPictures(count=0)
