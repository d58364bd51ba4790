"""Presets of views and the settings of their small ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genlab import recipes
from genlab.augment.view import View
from genlab.augment.views import views_from
from genlab.contracts import Batch


def made(options: Any) -> list[View]:
    found = views_from(options)
    assert found is not None
    return [view for view in found.views if isinstance(view, View)]


@pytest.mark.parametrize(
    ("name", "counts", "areas", "side"),
    [
        ("multicrop", (2, 6), [(0.14, 1.0), (0.05, 0.14)], 96),
        ("dino", (2, 8), [(0.4, 1.0), (0.05, 0.4)], 96),
        ("ibot", (2, 10), [(0.25, 1.0), (0.05, 0.25)], 96),
        ("dinov2", (2, 8), [(0.32, 1.0), (0.05, 0.32)], 96),
        ("lejepa", (2, 6), [(0.3, 1.0), (0.05, 0.3)], 98),
    ],
)
def test_small_views_are_the_papers(
    name: str, counts: tuple[int, int], areas: list[tuple[float, float]], side: int
) -> None:
    views = made(name)
    sides = [view.side(224) for view in views]
    assert sides == [224] * counts[0] + [side] * counts[1]
    assert [views[0].crop, views[-1].crop] == areas


def test_dinos_views_differ_in_blur_and_solarisation() -> None:
    found = [(view.blur, view.solarise) for view in made("dino")]
    assert found == [(1.0, 0.0), (0.1, 0.2), *(8 * [(0.5, 0.0)])]


@pytest.mark.parametrize(
    ("name", "crop", "flip"),
    [("mae", (0.2, 1.0), True), ("simmim", (0.67, 1.0), True), ("ijepa", (0.3, 1.0), False)],
)
def test_one_view_that_is_a_crop_alone(name: str, crop: tuple[float, float], flip: bool) -> None:
    (view,) = made(name)
    assert (view.crop, view.flip, view.blur, view.solarise, view.grey) == (crop, flip, 0, 0, 0)
    image = torch.rand(4, 3, 16, 16)
    whole = View(crop=(1.0, 1.0), flip=False, jitter=view.jitter, grey=view.grey)
    torch.testing.assert_close(whole(image, 1), image, rtol=0, atol=1e-5)


def test_small_views_have_settings_of_their_own() -> None:
    views = made(
        {
            "preset": "dino",
            "flip": False,
            "crop": [0.5, 1.0],
            "blur": 0.0,
            "small": {"count": 3, "size": 0.5, "crop": [0.3, 0.5], "jitter": [0.1, 0, 0, 0]},
        }
    )
    assert [view.side(8) for view in views] == [8, 8, 4, 4, 4]
    assert [view.crop for view in views] == 2 * [(0.5, 1.0)] + 3 * [(0.3, 0.5)]
    assert not any(view.flip or view.blur for view in views)
    assert [view.jitter[0] for view in views] == [0.4, 0.4, 0.1, 0.1, 0.1]
    assert views[1].solarise == 0.2


def test_settings_of_the_large_views_leave_the_small_ones_small() -> None:
    views = made({"preset": "multicrop", "crop": [0.5, 1.0], "size": 32})
    assert [view.side(64) for view in views] == [32, 32, *(6 * [27])]
    assert views[-1].crop == (0.05, 0.14)


DIGITS = [
    name
    for name in sorted(recipes.shipped())
    if name.partition("/")[2].startswith(("digits", "mnist"))
]


def test_views_of_digits_and_of_grey_images_are_neither_mirrored_nor_coloured() -> None:
    """VW3, VW4: and their crops are of 16 pixels or more."""
    seen = 0
    for name in DIGITS:
        data = recipes.resolve([name]).config["data"]
        side = 8 if data["class_path"].endswith("Digits") else 28
        views = (data.get("init_args") or {}).get("views")
        for view in made(views) if views else []:
            seen += 1
            assert (view.flip, view.grey, view.blur, view.solarise) == (False, 0, 0, 0), name
            assert tuple(view.jitter[2:]) == (0, 0), name
            assert view.side(side) >= 4, name
            assert view.crop[0] * side**2 >= 16, name
    assert seen > 40


def test_no_small_views() -> None:
    assert len(made({"preset": "dino", "small": {"count": 0}})) == 2


@pytest.mark.parametrize(
    ("small", "preset", "said"),
    [
        ({"count": 2}, "simclr", "preset simclr has no small views"),
        ({"count": -1}, "dino", r"small\.count must be at least 0, not -1"),
        ({"sise": 4}, "dino", "sise"),
    ],
)
def test_what_cannot_be_is_refused(small: dict[str, Any], preset: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        made({"preset": preset, "small": small})


def test_fixed_views_are_large_and_an_images_own() -> None:
    """The same in another batch and order; of another number another view."""
    views = views_from({"preset": "dino", "blur": 0.0})
    assert views is not None
    batch: Batch = {"image": torch.rand(6, 3, 28, 28), "index": torch.tensor([5, 9, 2, 1030, 7, 0])}
    found = views.fixed(batch, 0)
    assert found.shape == (6, 3, 28, 28)  # small ones have 12 pixels
    order = torch.tensor([4, 0, 3])
    other: Batch = {key: batch[key][order] for key in ("image", "index")}  # type: ignore
    assert torch.equal(views.fixed(other, 0), found[order])
    assert not torch.equal(views.fixed(batch, 2), found)
