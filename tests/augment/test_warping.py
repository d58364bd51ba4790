"""Warps: torchvision's affine maps, bends that are smooth, and one draw an image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision.transforms.v2.functional as reference
from torch import Tensor
from torchvision.transforms import InterpolationMode

from genlab.augment.view import View
from genlab.augment.views import views_from
from genlab.augment.warping import KNOTS, Warp, warp, warp_from

DRAWING: dict[str, Any] = {"crop": (1.0, 1.0), "flip": False, "jitter": (0.0,) * 4, "grey": 0.0}
STRONG = {"rotate": 20, "scale": 0.2, "stretch": 0.2, "shear": 20, "shift": 0.1, "bend": 0.05}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(n: int, size: int = 32) -> Tensor:
    """Images whose borders are black."""
    coarse = torch.rand(n, 1, 6, 6, generator=generator(5))
    coarse[:, :, [0, -1]] = coarse[:, :, :, [0, -1]] = 0
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")


def test_nothing_asked_changes_nothing() -> None:
    image = smooth(4)
    torch.testing.assert_close(warp(image, Warp().draw(4, generator())), image, rtol=0, atol=1e-5)


def test_maps_are_torchvisions() -> None:
    image = smooth(16)
    drawn = Warp(rotate=30, scale=0.3, shear=20, shift=0.2).draw(16, generator())
    found = warp(image, drawn)
    for k in range(16):
        angle, scale, shear = (
            float(drawn[f"warp_{name}"][k]) for name in ("angle", "scale", "shear")
        )
        expected = reference.affine(
            image[k], angle, [0, 0], scale, [shear, 0.0], interpolation=InterpolationMode.BILINEAR
        )
        still = {**drawn, "warp_shift": torch.zeros(16, 2)}
        torch.testing.assert_close(warp(image, still)[k], expected, rtol=0, atol=1e-4)
    assert not torch.allclose(found, warp(image, still), atol=1e-2)


def test_shift_and_stretch_move_and_widen_a_bar() -> None:
    image = torch.zeros(1, 1, 40, 40)
    image[:, :, 10:30, 15:25] = 1
    none = Warp().draw(1, generator())
    moved = warp(image, {**none, "warp_shift": torch.tensor([[0.1, -0.05]])})
    torch.testing.assert_close(moved, image.roll((2, -4), (2, 3)), rtol=0, atol=1e-4)
    wide = warp(image, {**none, "warp_stretch": torch.tensor([4.0])})  # twice as wide, half as high
    assert wide[0, 0, 20].sum().item() == pytest.approx(20, abs=0.01)
    assert wide[0, 0, :, 20].sum().item() == pytest.approx(10, abs=0.01)


def test_bends_displace_by_their_size_and_smoothly() -> None:
    n, side = 400, 32
    ramp = torch.arange(side).float().expand(n, 1, side, side).contiguous()
    drawn = Warp(bend=0.05).draw(n, generator())
    assert drawn["warp_bend"].shape == (n, 2, KNOTS, KNOTS)
    inner = (warp(ramp, drawn) - ramp)[:, :, 8:24, 8:24]  # pixels along x, no border
    assert 0.5 < inner.std().item() / (0.05 * side) < 1.2
    steps = inner.diff(dim=3).abs()
    assert steps.mean().item() < 0.15 * 0.05 * side
    assert inner.mean((1, 2, 3)).std() > 0.3  # each image its own


def test_views_draw_each_their_own_and_the_seed_repeats_them() -> None:
    views = views_from({"preset": "simclr", **DRAWING, "blur": 0, "warp": STRONG})
    assert views is not None
    image = smooth(32)
    one, two = views(image, 3)
    assert one.shape == image.shape
    assert all(float((one[k] - two[k]).abs().max()) > 0.05 for k in range(32))
    assert all(torch.equal(a, b) for a, b in zip(views(image, 3), (one, two), strict=True))
    assert not torch.equal(views(image, 4)[0], one)
    assert 0 <= float(one.min()) <= float(one.max()) <= 1 + 1e-6


def test_other_draws_stay_what_they_were() -> None:
    plain, bent = View(), View(warp=STRONG)
    old, new = (view.draw((8, 3, 16, 16), generator(2)) for view in (plain, bent))
    assert all(torch.equal(value, new[name]) for name, value in old.items())
    names = ("angle", "scale", "stretch", "shear", "shift", "bend")
    assert set(new) - set(old) == {f"warp_{name}" for name in names}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"rotat": 3}, "rotat"),
        ({"rotate": 200}, r"warp.rotate must be in 0 ... 180, not 200"),
        ({"scale": -0.1}, "warp.scale must be in 0"),
        ({"bend": True}, "warp.bend must be a number"),
        ({"shear": "x"}, "warp.shear must be a number"),
    ],
)
def test_wrong_warps_are_refused(options: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        warp_from(options)
    with pytest.raises(ValueError, match=error):
        views_from({"preset": "simclr", "warp": options})
