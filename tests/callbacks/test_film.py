"""The training film: its frames, what they show, and what a continued run makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from genlab.callbacks import Film, Pictures
from genlab.drawing.grid import TILE, class_rows
from genlab.drawing.lettering import GAP
from genlab.drawing.text import LINE
from tests.callbacks.tiny import Line, digits, trainer


class Drawing(Line):
    """Draws noise of the brightness that it has learned."""

    def sample(self, n: int) -> Tensor:
        assert not self.training
        return torch.rand(n, 1, 8, 8) * self.weight.clamp(0, 1)


class ByClass(Drawing):
    """As `Drawing`; class k is k thirds as bright."""

    num_classes = 4

    def sample(self, n: int, label: Tensor | None = None) -> Tensor:
        assert label is not None
        return (label / 3).view(-1, 1, 1, 1).expand(n, 1, 8, 8)


def frames(file: Path) -> list[np.ndarray]:
    with Image.open(file) as film:
        found = []
        for k in range(getattr(film, "n_frames", 1)):
            film.seek(k)
            found.append(np.asarray(film.convert("RGB")).astype(int))
        return found


def film(folder: Path, method: Any, **options: Any) -> None:
    steps = options.pop("steps", 10)
    callback = Film(every_n_steps=4, count=4, **options)
    fit(folder, method, steps, callback)


def fit(folder: Path, method: Any, steps: int, *callbacks: L.Callback) -> None:
    options = {"max_steps": steps, "max_epochs": -1, "enable_checkpointing": False}
    trainer(folder, *callbacks, **options).fit(method, datamodule=digits())


@pytest.mark.parametrize("file", ["film.gif", "film.webp", "film.png"])
def test_a_frame_every_so_many_steps_and_at_both_ends(tmp_path: Path, file: str) -> None:
    method = Drawing()
    film(tmp_path, method, file=file)
    kept = sorted((tmp_path / "pictures" / "film").glob("*.png"))
    assert [int(frame.stem) for frame in kept] == [0, 4, 8, 10]
    shown = frames(tmp_path / "pictures" / file)
    assert len(shown) == 4
    means = [np.abs(frame).mean() for frame in shown]
    assert means == sorted(means)  # it grows brighter
    assert means[-1] > means[0] + 5
    assert method.training


def test_frames_show_the_same_noise_and_leave_training_as_it_is(tmp_path: Path) -> None:
    method, plain = Drawing(), Drawing()
    torch.manual_seed(3)
    film(tmp_path, method)
    torch.manual_seed(3)
    fit(tmp_path, plain, 10)
    assert method.noise == plain.noise
    kept = sorted((tmp_path / "pictures" / "film").glob("*.png"))
    first, last = (frames(frame)[0][LINE + GAP :] for frame in (kept[1], kept[-1]))
    inside = first < 190
    assert np.corrcoef(first[inside], last[inside])[0, 1] > 0.99


def test_a_continued_run_has_one_film(tmp_path: Path) -> None:
    film(tmp_path, Drawing(), steps=6)
    folder = tmp_path / "pictures" / "film"
    assert sorted(int(f.stem) for f in folder.glob("*.png")) == [0, 4, 6]
    (folder / "00000099.png").write_bytes((folder / "00000006.png").read_bytes())
    film(tmp_path, Drawing(), steps=6)  # a run that went further was cut back to here
    assert len(frames(tmp_path / "pictures" / "film.gif")) == 3


def test_a_row_for_each_class(tmp_path: Path) -> None:
    images, columns = class_rows(ByClass(), 9)
    assert (columns, len(images)) == (2, 8)
    assert images[:, 0, 0, 0].mul(3).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    images, columns = class_rows(Drawing().eval(), 9)
    assert (columns, len(images)) == (None, 9)
    method = ByClass()
    fit(tmp_path, method, 2, Pictures(count=8))
    sheet = np.asarray(Image.open(next((tmp_path / "pictures").glob("samples-*.png"))))
    top = LINE + GAP  # a title of one line
    assert sheet.shape[0] == top + 4 * (TILE + 2) + 2
    assert (sheet[:top] < 128).any()
    beside = sheet[top:, :20]
    for row in range(4):  # each has its class beside it
        assert (beside[row * 50 : row * 50 + 50, :8] < 128).any()


def test_frames_name_their_step(tmp_path: Path) -> None:
    film(tmp_path, Drawing())
    kept = sorted((tmp_path / "pictures" / "film").glob("*.png"))
    titles = [frames(file)[0][: LINE + GAP] for file in kept]
    assert all((title < 128).any() for title in titles)
    assert not np.array_equal(titles[0], titles[-1])


def test_a_method_that_draws_nothing_has_no_film(tmp_path: Path) -> None:
    film(tmp_path, Line())
    assert not (tmp_path / "pictures").exists()


@pytest.mark.parametrize(
    "wrong", [{"every_n_steps": 0}, {"count": 0}, {"seconds": 0}, {"file": "film.mp4"}]
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Film(**wrong)
