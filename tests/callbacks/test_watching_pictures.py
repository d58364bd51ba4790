"""Pictures of views and of similarities show what the method gets, and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.augment import View
from genlab.callbacks import SimilarityHistogram, ViewPictures, similarity_histogram, view_pictures
from genlab.callbacks.similarity_histogram import cosines, draw
from genlab.callbacks.view_pictures import describe, joined, sheet
from genlab.data import Digits
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.callbacks.programs_watching import digits
from tests.callbacks.tiny import Line, trainer
from tests.methods.programs_ssl import same_state, small


class First(Checkpoints):
    """Keeps the first training batch."""

    def __init__(self) -> None:
        super().__init__(None, keep_every_n_steps=1)
        self.batch: dict[str, Any] = {}

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        self.batch = self.batch or batch


def fit(folder: Path, *callbacks: Any, resume: Path | None = None, **options: Any) -> Any:
    """Without `Reseed`, unless given: a draw for a picture would show."""
    method = small("simclr")
    torch.manual_seed(7)
    run = trainer(folder, *callbacks, **options)
    run.fit(method, datamodule=digits(), ckpt_path=resume, weights_only=True if resume else None)
    return method


def tile(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    """An 8 x 8 image out of a sheet of tiles of 96 pixels, below the titles."""
    top, left = 14 + 98 * row + 2, 98 * column + 2
    return picture[top : top + 96 : 12, left : left + 96 : 12, 0]


def test_the_picture_shows_the_first_batch_as_the_method_gets_it(tmp_path: Path) -> None:
    first = First()
    fit(tmp_path, ViewPictures(count=3), first, max_epochs=1)
    with Image.open(tmp_path / "pictures/views.png") as picture:
        found = np.asarray(picture)
    assert found.shape[1] == 3 * 98 + 2
    for column, images in enumerate([first.batch["image"], *first.batch["views"]]):
        for row in range(3):
            expected = (images[row, 0] * 255).round().byte().numpy()
            assert np.array_equal(tile(found, row, column), expected)
    assert (found[:14] < 128).any()  # titles
    assert (found[14 + 3 * 98 + 2 :] < 128).any()  # words


def test_a_resumed_run_keeps_its_picture(tmp_path: Path) -> None:
    fit(tmp_path, ViewPictures(), Reseed(), First(), max_epochs=1)
    picture = tmp_path / "pictures/views.png"
    picture.write_bytes(b"kept")
    saved = tmp_path / "checkpoints/step-00000004.ckpt"
    fit(tmp_path, ViewPictures(), Reseed(), First(), max_epochs=2, resume=saved)
    assert picture.read_bytes() == b"kept"


def test_training_does_not_notice(tmp_path: Path) -> None:
    pictures = (ViewPictures(), SimilarityHistogram(every_n_epochs=1))
    with_, after = fit(tmp_path / "with", *pictures, Checkpoints(None)), torch.rand(3)
    without, before = fit(tmp_path / "without", Checkpoints(None)), torch.rand(3)
    assert same_state(with_.state_dict(), without.state_dict()) == []
    assert torch.equal(after, before)
    names = {file.name for file in (tmp_path / "with/pictures").iterdir()}
    assert names == {"views.png", "similarities-00000010.png", "similarities-00000020.png"}


def test_methods_and_data_without_views_are_left_alone(tmp_path: Path) -> None:
    run = trainer(tmp_path, ViewPictures(), SimilarityHistogram(), Checkpoints(None))
    run.fit(Line(), datamodule=Digits(batch_size=32, limit=320, val_size=100))
    assert not (tmp_path / "pictures").exists()


def test_one_image_has_no_histogram(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trainer(tmp_path, SimilarityHistogram(), Checkpoints(None), max_epochs=1)
    run.fit(small("simclr"), datamodule=digits(val_size=1))
    assert not (tmp_path / "pictures").exists()
    assert "similarities" not in capsys.readouterr().err


def test_small_views_stay_small_and_colours_stay() -> None:
    image, small_view = torch.zeros(2, 3, 14, 14), torch.zeros(2, 3, 6, 6)
    image[:, 0], small_view[:, 1] = 1.0, 1.0
    picture = sheet([image, small_view], [])
    red = (picture == [255, 0, 0]).all(2).sum()
    green = (picture == [0, 255, 0]).all(2).sum()
    assert red == 2 * 84**2  # 14 pixels, 6 times
    assert green == 2 * 96**2


def test_titles_have_sides_where_they_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = list[str]()

    def titled(columns: dict[str, torch.Tensor], captions: list[str]) -> np.ndarray:
        drawn.extend(columns)
        return np.zeros((1, 1, 3), dtype=np.uint8)

    monkeypatch.setattr(view_pictures, "titled", titled)
    large, small_view = torch.zeros(1, 1, 28, 28), torch.zeros(1, 1, 14, 14)
    sheet([large, large], [])
    sheet([large, large, small_view], [])
    expected = ["image", "view 1", "image (28 px)", "view 1 (28 px)", "view 2 (14 px)"]
    assert drawn == expected


def test_words_say_what_can_happen_and_no_more() -> None:
    words = describe(View(crop=(0.2, 1.0), jitter=(0.4, 0.4, 0, 0.1), grey=0, blur=0.5))
    assert words == (
        "crop of 20% to 100% of the area; flip; brightness 0.4, contrast 0.4, hue 0.1 "
        "(80% of images); blur (50%)"
    )
    assert describe(View(flip=False, jitter_chance=0, grey=0)) == "crop of 8% to 100% of the area"
    still: dict[str, Any] = {"crop": (1, 1), "flip": False, "jitter_chance": 0, "grey": 0}
    assert describe(View(**still)) == "whole image"
    assert describe(View(**still, warp={"rotate": 9, "bend": 0.1})) == "warp (rotate 9, bend 0.1)"


def test_views_that_are_alike_share_their_words() -> None:
    assert joined(["a", "b", "b", "b", "a"]) == ["view 1: a", "views 2 to 4: b", "view 5: a"]
    assert joined([]) == []


def test_cosines_are_those_of_all_pairs() -> None:
    z1, z2 = torch.randn(5, 3), torch.randn(5, 3)
    positive, negative = cosines(z1, z2)
    every = torch.cosine_similarity(z1[:, None], z2[None], dim=2)
    np.testing.assert_allclose(positive, every.diagonal(), atol=1e-6)
    assert negative.shape == (20,)
    np.testing.assert_allclose(negative.sum(), every.sum() - every.trace(), atol=1e-5)


def test_a_collapse_looks_unlike_health() -> None:
    apart = draw(np.linspace(0.5, 1, 50), np.linspace(-0.5, 0.5, 500), "")
    alike = draw(np.full(50, 0.99), np.full(500, 0.99), "")
    assert apart.shape == alike.shape == (300, 500, 3)
    low = slice(200, 240), slice(150, 350)  # just above the axis, cosines -0.4 to 0.4
    assert (apart[low] != 255).any(2).mean() > 0.5
    assert (alike[low] == 255).all()


def test_both_axes_and_the_recipe_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    charts: list[Any] = []
    made = similarity_histogram.figure

    def kept(*size: Any) -> Any:
        charts.append(made(*size))
        return charts[-1]

    monkeypatch.setattr(similarity_histogram, "figure", kept)
    draw(np.full(50, 0.5), np.full(500, 0.0), "simclr/digits, step 20")
    (axes,) = charts[0].axes
    assert axes.get_title() == "simclr/digits, step 20"
    assert axes.get_xlabel() == "cosine of embeddings"
    assert axes.get_ylabel() == "share of pairs"


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [(ViewPictures, {"count": 0}), (SimilarityHistogram, {"count": 1}),
     (SimilarityHistogram, {"every_n_epochs": -1})],
)  # fmt: skip
def test_what_is_out_of_range_is_refused(kind: Any, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__}.{next(iter(wrong))}"):
        kind(**wrong)
