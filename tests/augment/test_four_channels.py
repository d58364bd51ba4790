"""Colour and transparency: operations on colour leave the fourth channel alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.augment.ct_ops import CT_OPS
from genlab.augment.ops import COLOUR, OPS, by_operation
from genlab.augment.standard import Augment
from genlab.augment.view import View
from genlab.augment.views import PRESETS, views_from

PLAIN: dict[str, Any] = {"jitter": (0.0,) * 4, "grey": 0.0, "solarise": 0.0}


def pictures(n: int = 12, size: int = 16) -> Tensor:
    coarse = torch.rand(n, 4, 6, 6, generator=torch.Generator().manual_seed(5)) * 1.6 - 0.3
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)


def drawn(module: Any, image: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = module.draw(tuple(image.shape), torch.Generator().manual_seed(3))
    return found


@pytest.mark.parametrize("name", PRESETS)
def test_views_change_the_colour_of_the_first_three_and_crop_and_blur_all(name: str) -> None:
    image, views = pictures(), views_from(name)
    assert views is not None
    for view in views.views:
        assert isinstance(view, View)
        given = drawn(view, image)
        found = view.apply_to(image, given)
        assert torch.allclose(found[:, :3], view.apply_to(image[:, :3], given), atol=1e-6)
        kept = View(view.size, view.crop, view.flip, blur=view.blur, sigma=view.sigma, **PLAIN)
        assert torch.allclose(found[:, 3:], kept.apply_to(image[:, 3:], given), atol=1e-6)
        changed = not torch.allclose(found[:, :3], kept.apply_to(image[:, :3], given), atol=0.01)
        assert changed == bool(any(view.jitter) or view.grey or view.solarise)


def test_brightness_and_contrast_change_the_first_three() -> None:
    image, augment = pictures(), Augment(flip=True, brightness=0.5, contrast=0.5, cutout=4)
    given = drawn(augment, image)
    found = augment.apply_to(image, given)
    assert torch.allclose(found[:, :3], augment.apply_to(image[:, :3], given), atol=1e-6)
    del given["brightness"], given["contrast"]
    kept = Augment(flip=True, cutout=4).apply_to(image, given)
    assert torch.equal(found[:, 3:], kept[:, 3:])
    assert not torch.allclose(found[:, :3], kept[:, :3], atol=0.01)


@pytest.mark.parametrize("ops", [OPS, CT_OPS], ids=["rand_augment", "ctaugment"])
def test_operations_on_colour_change_the_first_three(ops: dict[str, Any]) -> None:
    image = pictures()
    given = torch.full((len(image), 4), 0.9) if ops is CT_OPS else torch.full((len(image),), 0.9)
    for name in ops:
        found = by_operation(image, torch.zeros(len(image)).long(), given, [name], ops)
        three = by_operation(image[:, :3], torch.zeros(len(image)).long(), given, [name], ops)
        assert torch.allclose(found[:, :3], three, atol=1e-6), name
        same = torch.equal(found[:, 3:], image[:, 3:])
        assert same == (name in COLOUR or name == "identity"), name
