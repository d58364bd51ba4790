"""RandAugment: each operation is PIL's, and what is drawn has the distribution of the paper."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from genlab.augment.ops import OPS
from genlab.augment.rand_augment import RandAugment, strong_from
from genlab.data import CIFAR10, Digits

AFFINE = Image.Transform.AFFINE


def _enhance(kind: Any) -> Callable[[Image.Image, int, int], Image.Image]:
    return lambda image, level, sign: kind(image).enhance(0.9 * level / 10 + 0.05)


def _affine(*slots: int, whole: bool = False) -> Callable[[Image.Image, int, int], Image.Image]:
    def move(image: Image.Image, level: int, sign: int) -> Image.Image:
        value = sign * 0.3 * level / 10
        matrix = [1.0, 0, 0, 0, 1, 0]
        matrix[slots[0]] = int(value * image.size[0]) if whole else value
        return image.transform(image.size, AFFINE, matrix)

    return move


# kekmodel/FixMatch-pytorch's randaugment.py, which is the paper's table of ranges
PIL: dict[str, Callable[[Image.Image, int, int], Image.Image]] = {
    "autocontrast": lambda image, level, sign: ImageOps.autocontrast(image),
    "brightness": _enhance(ImageEnhance.Brightness),
    "color": _enhance(ImageEnhance.Color),
    "contrast": _enhance(ImageEnhance.Contrast),
    "equalize": lambda image, level, sign: ImageOps.equalize(image),
    "identity": lambda image, level, sign: image,
    "posterize": lambda image, level, sign: ImageOps.posterize(image, int(level * 4 / 10) + 4),
    "rotate": lambda image, level, sign: image.rotate(sign * int(level * 30 / 10)),
    "sharpness": _enhance(ImageEnhance.Sharpness),
    "shear_x": _affine(1),
    "shear_y": _affine(3),
    "solarize": lambda image, level, sign: ImageOps.solarize(image, 256 - int(level * 256 / 10)),
    "translate_x": _affine(2, whole=True),
    "translate_y": _affine(5, whole=True),
}


def to_pil(image: Tensor) -> Image.Image:
    array = (image * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(array if array.shape[2] == 3 else array[..., 0])


def from_pil(image: Image.Image) -> Tensor:
    array = torch.from_numpy(np.asarray(image).copy()).float() / 255
    return array.permute(2, 0, 1) if array.ndim == 3 else array[None]


@cache
def photographs(root: Path) -> Tensor:
    loader = CIFAR10(root=str(root), eval_batch_size=36).test_dataloader()
    return next(iter(loader))["image"].float() / 255


def digits(n: int = 64) -> Tensor:
    loader = Digits(eval_batch_size=n).bank_dataloader("train")
    return next(iter(loader))["image"].float() / 255


@pytest.mark.filterwarnings("ignore:.*checksums")
@pytest.mark.parametrize("name", PIL)
def test_an_operation_is_pils(name: str, data_root: Path) -> None:
    colour = photographs(data_root)
    for images in (colour, digits(36)):
        level = torch.arange(len(images)) % 9 + 1
        sign = 1 - 2 * (torch.arange(len(images)) // 9 % 2)
        ours = OPS[name](images, sign * level / 10)
        theirs = torch.stack(
            [
                from_pil(PIL[name](to_pil(image), int(m), int(s)))
                for image, m, s in zip(images, level, sign, strict=True)
            ]
        )
        error = (ours - theirs).abs().mean((1, 2, 3)) * 255
        assert error.mean() < 0.7, name
        assert error.max() < 2, name
    if name not in ("identity",):
        assert (OPS[name](colour, torch.full((36,), 0.9)) - colour).abs().mean() > 0.2 / 255


def test_there_are_the_fourteen_operations() -> None:
    assert set(OPS) == set(PIL)
    assert RandAugment().ops == list(OPS)


def test_what_is_drawn_has_the_distribution_of_the_paper() -> None:
    policy = RandAugment()
    drawn = policy.draw((20_000, 3, 32, 32), torch.Generator().manual_seed(0))
    op, strength = drawn["op"], drawn["strength"]
    assert (op < 0).all(1).float().mean() == pytest.approx(0.25, abs=0.01)  # no operation at all
    share = (op + 1).flatten().bincount(minlength=15) / op.numel()
    assert share[0] == pytest.approx(0.5, abs=0.01)
    torch.testing.assert_close(share[1:], torch.full((14,), 0.5 / 14), rtol=0, atol=0.004)
    levels = (strength.abs() * 10).round().long().flatten().bincount() / strength.numel()
    torch.testing.assert_close(levels[1:], torch.full((9,), 1 / 9), rtol=0, atol=0.006)
    assert len(levels) == 10
    assert (strength > 0).float().mean() == pytest.approx(0.5, abs=0.01)
    both = (op[:, 0] == op[:, 1]) & (op[:, 0] >= 0)
    assert both.any()  # with replacement
    area = drawn["cutout"][:, 2] * drawn["cutout"][:, 3]
    assert int(area.max()) == 256
    assert 64 <= int(area.min()) < 256  # cut off at the borders: a quarter in a corner
    # a side about pixel x, uniform in 0 ... 31, is min(32, x + 8) - max(0, x - 8): 14 in the mean
    assert drawn["cutout"][:, 2:].float().mean() == pytest.approx(14.0, abs=0.1)


def per_sample(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The reference, one image at a time."""
    names = list(PIL)
    for name in rng.choice(names, 2):
        level, sign = int(rng.integers(1, 10)), int(rng.choice([-1, 1]))
        if rng.random() < 0.5:
            image = PIL[name](image, level, sign)
    x, y = int(rng.integers(0, image.size[0])), int(rng.integers(0, image.size[1]))
    half = image.size[0] // 4
    box = (max(0, x - half), max(0, y - half), x + half, y + half)
    copy = image.copy()
    copy.paste((127, 127, 127), box)
    return copy


@pytest.mark.filterwarnings("ignore:.*checksums")
def test_batched_pictures_are_distributed_as_those_made_one_by_one(data_root: Path) -> None:
    """Mean, spread and distance from the picture itself, over 600 draws of each of 3 pictures."""
    policy, rng, n = RandAugment(), np.random.default_rng(0), 600
    for picture in photographs(data_root)[:3]:
        batched = policy(picture.expand(n, -1, -1, -1), seed=7)
        single = torch.stack([from_pil(per_sample(to_pil(picture), rng)) for _ in range(n)])
        for figure in (
            lambda x: x.mean((1, 2, 3)),
            lambda x: x.std((1, 2, 3)),
            lambda x, p=picture: (x - p).abs().mean((1, 2, 3)),
        ):
            a, b = figure(batched), figure(single)
            scale = float(b.std()) + 1e-6
            assert abs(float(a.mean() - b.mean())) < 0.15 * scale
            assert float(a.std()) == pytest.approx(float(b.std()), rel=0.15)
        torch.testing.assert_close(batched.mean(0), single.mean(0), rtol=0, atol=0.08)


def test_each_image_has_its_own_draw_whatever_its_place() -> None:
    policy, images = RandAugment(), digits(32)
    drawn = policy.draw(tuple(images.shape), torch.Generator().manual_seed(1))
    whole = policy.apply_to(images, drawn)
    for k in range(32):
        row = {name: value[k : k + 1] for name, value in drawn.items()}
        torch.testing.assert_close(policy.apply_to(images[k : k + 1], row)[0], whole[k])
    assert (whole != images).flatten(1).any(1).float().mean() > 0.9


def test_the_same_seed_gives_the_same_pictures_and_the_argument_stays() -> None:
    policy, images = RandAugment(), digits(32)
    before, state = images.clone(), torch.get_rng_state()
    assert torch.equal(policy(images, 3), policy(images, 3))
    assert not torch.equal(policy(images, 3), policy(images, 4))
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert policy(images, 3).amin() >= 0
    assert policy(images, 3).amax() <= 1


def test_wrong_settings_are_refused() -> None:
    for options, message in (
        ("randaugment", "did you mean rand_augment"),
        ({"policy": "rand_augment", "cutot": 0.5}, "did you mean cutout"),
        ({"ops": ["rotat"]}, "did you mean rotate"),
        ({"chance": 1.5}, "chance must be in 0 ... 1"),
        ({"magnitude": 11}, "magnitude 11 must be in 2 ... 10"),
    ):
        with pytest.raises(ValueError, match=message):
            strong_from(options)
    assert strong_from(None) is None
