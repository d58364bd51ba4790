"""The picture shows the nearest training images of validation images, with the frames of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from genlab import metrics
from genlab.callbacks import OnlineKNN, RetrievalPictures
from genlab.data import Digits, Toys
from genlab.drawing.retrieval import OTHER, SAME, UNKNOWN, retrieved
from genlab.evaluation.retrieval import decimals, search
from genlab.evaluation.retrieval import picture as drawn
from tests.callbacks.programs_watching import Kept, digits
from tests.callbacks.test_online_knn import without_labels
from tests.callbacks.tiny import Line, trainer
from tests.methods.programs_ssl import same_state, small

ONCE: dict[str, Any] = {"max_epochs": 1, "enable_checkpointing": False}


def fit(folder: Path, *callbacks: Any, data: Digits | None = None) -> Any:
    method = small("simclr")
    torch.manual_seed(7)
    trainer(folder, *callbacks, **ONCE).fit(method, datamodule=data or digits())
    return method


@pytest.mark.parametrize("with_knn", [True, False])
def test_they_are_the_nearest_by_cosine(with_knn: bool, tmp_path: Path) -> None:
    """From kNN's features, or from a pass at the end."""
    near = Kept(count=5, neighbours=3)
    method = fit(tmp_path, *([OnlineKNN()] if with_knn else []), near).eval()
    data = digits()
    train, val = (
        metrics.collect(method, map(data.to_device, data.bank_dataloader(split)))
        for split in ("train", "val")
    )
    own = val.position.tolist().index
    rows = [own(at) for at in near.last.query.position.tolist()]
    assert rows == [0, 20, 40, 60, 80]  # of 101
    cosine = F.normalize(val.features[rows]) @ F.normalize(train.features).T
    values, columns = cosine.topk(3, dim=1)
    torch.testing.assert_close(near.last.cosine.float(), values, rtol=0, atol=1e-5)
    assert torch.equal(near.last.position, train.position[columns])
    assert torch.equal(near.last.label, train.label[columns])
    title = "step 10: validation images; nearest training images by features (cosine)"
    expected = drawn(near.last, data, "val", title)
    assert expected is not None
    with Image.open(tmp_path / "pictures/retrieval.png") as picture:
        assert np.array_equal(np.asarray(picture), expected)


def test_knns_features_are_taken_without_a_pass_of_its_own(tmp_path: Path) -> None:
    class Counting(Digits):
        asked: int = 0

        def bank_dataloader(self, split: Any = "train", *given: Any, **options: Any) -> Any:
            self.asked += split == "train"
            return super().bank_dataloader(split, *given, **options)

    options: dict[str, Any] = {"batch_size": 32, "limit": 320, "val_size": 101, "views": "simclr"}
    data = Counting(**options)
    fit(tmp_path, OnlineKNN(), RetrievalPictures(), data=data)
    assert data.asked == 1
    assert (tmp_path / "pictures/retrieval.png").is_file()


def test_training_does_not_notice_and_knn_keeps_nothing(tmp_path: Path) -> None:
    knn = OnlineKNN()
    with_ = fit(tmp_path / "with", knn, RetrievalPictures())
    assert knn.seen is None
    assert same_state(with_.state_dict(), fit(tmp_path / "without").state_dict()) == []


def test_images_without_labels_are_found_too(tmp_path: Path) -> None:
    near = Kept(count=2, neighbours=2)
    data = without_labels("train", "val")
    fit(tmp_path, OnlineKNN(), near, data=data)
    assert (near.last.label == -1).all()
    picture = drawn(near.last, data, "val", "")
    assert picture is not None
    assert _has(picture, UNKNOWN)
    assert not _has(picture, SAME)


def test_methods_without_features_are_left_alone(tmp_path: Path) -> None:
    data = Digits(batch_size=32, limit=320, val_size=100)
    trainer(tmp_path, RetrievalPictures(), **ONCE).fit(Line(), datamodule=data)
    assert not (tmp_path / "pictures").exists()


def test_points_in_the_plane_have_no_picture() -> None:
    data = Toys("two_moons", size=300, held_out=100)
    train, test = (
        metrics.collect(lambda image: image, map(data.to_device, data.bank_dataloader(split)))
        for split in ("train", "test")
    )
    assert drawn(search(train, test), data, "test", "") is None


def _has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(2).any())


def test_frames_are_of_the_classes_colours_and_images_stay_as_they_are() -> None:
    query, found = torch.zeros(2, 1, 8, 8), torch.ones(2, 3, 1, 8, 8)
    agrees = torch.tensor([[1, 0, -1], [1, 1, 1]])
    captions = [["a", "b", "c", "d"], ["a", "b" * 100, "", "d"]]
    picture = retrieved(query, found, agrees, captions, "title")
    assert picture.shape == (18 + 2 * (96 + 8 + 2 + 14) + 14, 4 * (96 + 10) + 12, 3)
    row, step = 18, 106
    assert (picture[row + 4 : row + 100, 4:100] == 0).all()  # the first query
    for column, colour in enumerate((SAME, OTHER, UNKNOWN), 1):
        left = column * step + 12
        frame = picture[row : row + 104, left : left + 104]
        assert (frame[4:-4, 4:-4] == 255).all()
        assert (frame[:4] == colour).all()
        assert (frame[:, :4] == colour).all()


def test_heads_stand_above_columns_and_no_frame_where_no_class_is_compared() -> None:
    query, found = torch.zeros(2, 1, 8, 8), torch.ones(2, 3, 1, 8, 8)
    captions = [["", "1.5", "2.5", "3.5"]] * 2
    plain = retrieved(query, found, None, captions, "title", ("sample", "nearest"))
    assert plain.shape == (18 + 14 + 2 * (96 + 8 + 2 + 14), 4 * (96 + 10) + 12, 3)
    for left in (0, 106 + 12):
        assert (plain[18:32, left : left + 106] < 128).any()  # heads
    assert not any(_has(plain, colour) for colour in (SAME, OTHER, UNKNOWN))


@pytest.mark.parametrize(
    ("cosine", "expected"), [(0.3, 3), (0.95, 3), (0.998, 4), (0.9998, 5), (0.9999999, 6), (1, 3)]
)
def test_cosines_near_one_have_more_decimals(cosine: float, expected: int) -> None:
    assert decimals(torch.full((2, 3), cosine, dtype=torch.float64)) == expected


@pytest.mark.parametrize("wrong", ["count", "neighbours", "bank"])
def test_what_is_out_of_range_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=f"RetrievalPictures.{wrong}"):
        RetrievalPictures(**{wrong: 0})
