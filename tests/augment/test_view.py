"""Views: torchvision's values for the same parameters, its distributions for random ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision.transforms.v2.functional as reference
from torch import Tensor
from torchvision.transforms.v2 import (
    RandomResizedCrop,
)

from genlab.augment import view
from genlab.augment.boxes import crop_boxes
from genlab.augment.colour import (
    BRIGHTNESS,
    CONTRAST,
    HUE,
    draw_jitter,
    jitter,
    solarise,
    turn_hue,
)
from genlab.augment.linear import blur, resized_crop
from genlab.augment.view import View
from genlab.augment.views import PRESETS, views_from
from genlab.internals import torch_parts
from tests.conftest import TwoRanks


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int, channels: int = 3, size: int = 32) -> Tensor:
    """Smooth random images with saturated spots, in [0, 1]."""
    coarse = torch.rand(n, channels, 6, 6, generator=generator(5)) * 1.6 - 0.3
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)


def slow_jitter(image: Tensor, factor: list[float], order: list[int], grey: bool) -> Tensor:
    """One image through torchvision's functions, one after the other."""
    for kind in order:
        if kind == BRIGHTNESS:
            image = reference.adjust_brightness(image, factor[kind])
        elif kind == CONTRAST:
            image = reference.adjust_contrast(image, factor[kind])
        elif kind == HUE:
            image = reference.adjust_hue(image, factor[kind])
        else:
            image = reference.adjust_saturation(image, factor[kind])
    return reference.rgb_to_grayscale(image, image.shape[0]) if grey else image


@pytest.mark.parametrize("channels", [3, 1])
def test_jitter_is_torchvisions_for_the_same_parameters(channels: int) -> None:
    image = pictures(64, channels)
    drawn = draw_jitter(64, (0.8, 0.8, 0.8, 0.2), 0.8, 0.2, generator())
    found = jitter(image.clone(), **drawn)
    rows = zip(*(v.tolist() for v in (drawn["factor"], drawn["order"], drawn["grey"])), strict=True)
    expected = torch.stack([slow_jitter(x, *row) for x, row in zip(image, rows, strict=True)])
    assert float((found - expected).abs().mean()) < 0.02 / 255
    assert float((found - expected).abs().max()) < 1 / 255


def test_hue_turns_as_in_hsv_and_a_full_turn_is_none() -> None:
    image, turns = torch.rand(64, 3, 8, 8), torch.rand(64) - 0.5
    image[0] = 0.3  # grey has no hue
    image[1, 1] = image[1, 0]  # equal largest colours
    expected = torch.stack(
        [reference.adjust_hue(x, t) for x, t in zip(image, turns.tolist(), strict=True)]
    )
    torch.testing.assert_close(turn_hue(image.clone(), turns), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(turn_hue(image.clone(), torch.ones(64)), image, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("source", "out"), [(32, 32), (32, 40), (96, 40), (28, 28), (8, 8)])
def test_crops_are_torchvisions_and_mirrored(source: int, out: int) -> None:
    image = torch.rand(32, 3, source, source)
    boxes = crop_boxes(tuple(image.shape), (0.08, 1.0), generator())
    flipped = torch.arange(32) % 2 == 0
    found = resized_crop(image, boxes, flipped, out)
    for k in range(32):
        plain = reference.resized_crop(
            image[k], *boxes[k].tolist(), size=[out, out], antialias=True
        )
        expected = plain.flip(2) if flipped[k] else plain
        torch.testing.assert_close(found[k], expected, rtol=0, atol=1e-4)


def test_blur_and_solarisation_are_torchvisions() -> None:
    image, sigma = pictures(16, size=40), torch.rand(16) * 1.9 + 0.1
    expected = torch.stack(
        [
            reference.gaussian_blur(x, [5, 5], [s, s])
            for x, s in zip(image, sigma.tolist(), strict=True)
        ]
    )
    torch.testing.assert_close(blur(image, sigma, 2), expected, rtol=0, atol=1e-5)
    chosen = torch.arange(16) < 8
    found = solarise(image.clone(), chosen)
    torch.testing.assert_close(found[:8], reference.solarize(image[:8], 0.5))
    assert torch.equal(found[8:], image[8:])


def test_draws_have_the_papers_probabilities() -> None:
    n = 20_000
    view = View(blur=0.5, solarise=0.2, jitter=(0.8, 0.6, 0.4, 0.2), jitter_chance=0.8, grey=0.2)
    drawn = view.draw((n, 3, 32, 32), generator())
    for name, chance in {"flip": 0.5, "grey": 0.2, "blur": 0.5, "solarise": 0.2}.items():
        assert float(drawn[name].float().mean()) == pytest.approx(chance, abs=0.015)
    jittered = drawn["factor"][:, HUE] != 0
    assert float(jittered.float().mean()) == pytest.approx(0.8, abs=0.015)
    factor = drawn["factor"][jittered]
    for column, strength in enumerate((0.8, 0.6, 0.4)):
        assert float(factor[:, column].mean()) == pytest.approx(1, abs=0.02)
        assert float(factor[:, column].std()) == pytest.approx(strength / 3**0.5, rel=0.03)
    assert float(factor[:, HUE].abs().max()) == pytest.approx(0.2, abs=1e-3)
    first = drawn["order"][:, 0].bincount(minlength=4).float() / n
    torch.testing.assert_close(first, torch.full((4,), 0.25), rtol=0, atol=0.015)
    area = (drawn["crop"][:, 2] * drawn["crop"][:, 3]).float() / 1024
    assert 0.05 < float(area.min()) < 0.1
    stock = RandomResizedCrop(32, (0.08, 1.0))
    theirs = [stock.make_params([torch.rand(3, 32, 32)]) for _ in range(4000)]
    expected = sum(p["height"] * p["width"] for p in theirs) / 4000 / 1024
    assert float(area.mean()) == pytest.approx(expected, abs=0.02)


def test_every_sample_has_its_own_draw_and_so_has_every_view_and_batch() -> None:
    image = pictures(1).expand(64, -1, -1, -1)
    views = views_from("simclr")
    assert views is not None
    one, two = views(image, seed=7)
    assert len({tuple(x.flatten().tolist()) for x in one}) > 60
    assert not torch.equal(one, two)
    again, _ = views(image, seed=7)
    assert torch.equal(one, again)
    other, _ = views(image, seed=8)
    assert not torch.equal(one, other)
    assert float(one.min()) >= 0
    assert float(one.max()) <= 1


def test_two_ranks_draw_what_one_process_draws(two_ranks: TwoRanks) -> None:
    one, two = two_ranks.results("tests.augment.programs_view:views")
    for k in range(2):
        for rank in range(2):
            torch.testing.assert_close(two[rank][k], one[k][rank::2], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("channels", "size"), [(3, 7), (3, 32), (1, 28)])
def test_values_do_not_depend_on_how_many_images_are_done_at_a_time(
    channels: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pictures(50, channels, size)
    before = image.clone()
    seen = View(blur=0.5, solarise=0.2)
    whole = seen(image, 3)
    for count in (1, 3, 16):
        monkeypatch.setattr(view, "CACHE", count * channels * size**2)
        assert torch.equal(seen(image, 3), whole)
    assert torch.equal(image, before)


def test_an_accelerator_is_never_waited_for_and_computes_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What looks at a value fails on the meta device; what skips work does it by masks there."""
    image, seen = pictures(16), View(blur=0.5, solarise=0.3)
    drawn = seen.draw(tuple(image.shape), generator())
    elsewhere = {name: value.to("meta") for name, value in drawn.items()}
    assert seen.apply_to(image.to("meta"), elsewhere).shape == image.shape
    skipped = seen.apply_to(image, drawn)
    monkeypatch.setattr(torch_parts, "on_host", lambda _: False)
    assert torch.equal(seen.apply_to(image, drawn), skipped)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 32), (2, 28), (3, 96)])
def test_presets_suit_grey_and_colour_small_and_large(name: str, channels: int, size: int) -> None:
    views = views_from(name)
    assert views is not None
    found = views(torch.rand(4, channels, size, size), 3)
    assert len(found) == len(PRESETS[name])
    assert found[0].shape == (4, channels, size, size)
    assert all(view.isfinite().all() for view in found)


def test_byol_is_asymmetric_and_strength_multiplies() -> None:
    views = views_from("byol")
    assert views is not None
    assert [(v.blur, v.solarise) for v in views.views if isinstance(v, View)] == [
        (1.0, 0.0),
        (0.1, 0.2),
    ]
    weak = views_from({"preset": "simclr", "strength": 0.5, "flip": False, "blur": 0.0})
    assert weak is not None
    for one in weak.views:
        assert isinstance(one, View)
        assert one.jitter == (0.4, 0.4, 0.4, 0.1)
        assert not one.flip
        assert one.blur == 0


def test_each_switch_changes_the_picture_as_its_name_says() -> None:
    image = pictures(32)
    off: dict[str, Any] = {"crop": (1.0, 1.0), "flip": False, "jitter": (0, 0, 0, 0), "grey": 0.0}
    torch.testing.assert_close(View(**off)(image, 0), image, rtol=0, atol=1e-5)
    grey = View(**off | {"grey": 1.0})(image, 0)
    torch.testing.assert_close(grey[:, 0], grey[:, 1])
    assert float(grey.std()) > 0.05
    bright = View(**off | {"jitter": (0.8, 0, 0, 0), "jitter_chance": 1.0})(image, 0)
    assert float((bright.mean((1, 2, 3)) - image.mean((1, 2, 3))).abs().mean()) > 0.05
    noise = torch.rand(8, 3, 32, 32)
    blurred = View(**off | {"blur": 1.0, "sigma": (2.0, 2.0)})(noise, 0)
    assert float(blurred.std()) < 0.6 * float(noise.std())
    flipped = View(**off | {"flip": True})(image, 0)
    mirrored = [
        bool(torch.allclose(a, b.flip(2), atol=1e-4)) for a, b in zip(flipped, image, strict=True)
    ]
    assert 4 < sum(mirrored) < 28


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("simcrl", "did you mean simclr"),
        ({"preset": "byol", "gray": 0.1}, "did you mean grey"),
        ({"grey": 2}, "grey must be a chance"),
        ({"crop": [0, 1]}, "crop must be"),
        ({"jitter": [1, 1, 1, 0.7]}, "hue up to 0.5"),
    ],
)
def test_wrong_views_are_named(options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        views_from(options)


@pytest.mark.parametrize("preset", PRESETS)
def test_views_of_white_images_are_at_most_white_but_for_rounding(preset: str) -> None:
    """The weights of a blur sum to nearly 1."""
    views, white = views_from({"preset": preset, "jitter_chance": 0.0}), torch.ones(64, 3, 24, 24)
    assert views
    for image in (white, [white[..., :side, :side] for side, _ in views.crops(24)]):
        for seen in views(image, 3):
            assert (seen.min() > -1e-6, seen.max() < 1 + 1e-6) == (True, True)
