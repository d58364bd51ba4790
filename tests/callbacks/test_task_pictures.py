"""Images of a task are drawn of the same validation images, and change nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.callbacks import TaskPictures, task_pictures
from genlab.drawing.columns import FRAME, OTHER, SAME
from genlab.drawing.text import LINE
from genlab.methods.rotation import Rotation
from genlab.training.engine.checkpointing import Checkpoints
from tests.callbacks.programs_watching import digits
from tests.callbacks.tiny import trainer
from tests.methods.programs_ssl import CNN, same_state, small
from tests.methods.test_inpainting import small as inpainter


def fit(folder: Path, *callbacks: Any) -> Rotation:
    torch.manual_seed(1)
    method = Rotation(**CNN)
    trainer(folder, *callbacks).fit(method, datamodule=digits(views=None))
    return method


def test_rows_of_input_target_and_output(tmp_path: Path) -> None:
    """The target is the image itself; what the output's frame says is what the images say."""
    method = fit(tmp_path, TaskPictures(every_n_epochs=1, count=6))
    first, last = sorted((tmp_path / "pictures").glob("task-*.png"))
    with Image.open(last) as picture:
        found = np.asarray(picture)
    wide, high, title = 96 + 2 + 2 * FRAME, 96 + 2 + 2 * FRAME + LINE, LINE
    assert found.shape == (title + LINE + 6 * high + 2 + LINE, 3 * wide + 2, 3)
    assert (found[:title] < 128).any()  # the title is written
    data = digits(views=None)
    loader: Any = data.val_dataloader()
    images = next(iter(loader))["image"][:6]
    shown = method.eval().task_pictures({"image": images / 255})
    frames = list[bool]()
    for row in range(6):
        top = title + LINE + high * row + 2 + FRAME
        target = found[top : top + 96 : 12, wide + 2 + FRAME : 2 * wide : 12, 0][:, :8]
        assert np.array_equal(target, images[row, 0].numpy())
        frame = tuple(found[top - 1, 2 * wide + 2 + FRAME + 5])
        right = torch.equal(shown["output"][row], shown["target"][row])
        assert frame == (SAME if right else OTHER)
        frames.append(right)
    assert set(frames) == {True, False}  # rows of both kinds were drawn
    assert first.name != last.name
    assert not same_state(fit(tmp_path / "without").state_dict(), method.state_dict())


@pytest.mark.parametrize(("score", "told"), [({}, ""), ({"val/psnr": 9.0, "val/loss": 1.0},
    ", val/psnr 9.000")])  # fmt: skip
def test_the_title_names_method_step_and_score(
    monkeypatch: pytest.MonkeyPatch, score: dict[str, float], told: str
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(task_pictures, "publish", lambda *words: None)
    monkeypatch.setattr(task_pictures, "titled", lambda *words: given.append(words))
    stamped = Checkpoints(None)
    stamped.stamp = {"name": "inpainting/digits"}
    data = digits(views=None)
    run: Any = SimpleNamespace(callbacks=[stamped], global_step=1200, is_global_zero=True,
                               callback_metrics=score, datamodule=data)  # fmt: skip
    TaskPictures(count=2)._draw(run, inpainter())
    ((_, title, answers, boxes),) = given
    assert title == "inpainting/digits, step 1,200" + told
    assert not answers
    assert boxes.tolist() == [[2, 2, 4, 4]] * 2


def test_methods_without_a_task_are_left_alone(tmp_path: Path) -> None:
    trainer(tmp_path, TaskPictures()).fit(small("simclr"), datamodule=digits())
    assert not (tmp_path / "pictures").exists()


def test_no_row_is_refused() -> None:
    with pytest.raises(ValueError, match="count must be at least 1"):
        TaskPictures(count=0)
