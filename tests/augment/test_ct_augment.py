"""CTAugment: each operation is PIL's, bins are drawn by what was learnt, rates move by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from torch import Tensor

from genlab.augment.ct_augment import CTAugment
from genlab.augment.ct_ops import BINS, CT_OPS
from genlab.augment.rand_augment import strong_from
from tests.augment.test_rand_augment import AFFINE, digits, from_pil, photographs, to_pil
from tests.conftest import TwoRanks

Reference = Callable[[Image.Image, float, float, tuple[float, float]], Image.Image]
METHODS = ("LANCZOS", "BICUBIC", "BILINEAR", "BOX", "HAMMING", "NEAREST")


def _blended(change: Callable[[Image.Image], Image.Image]) -> Reference:
    return lambda image, level, *_: Image.blend(image, change(image), level)


def _enhanced(kind: Any) -> Reference:
    return lambda image, level, *_: kind(image).enhance(0.1 + 1.9 * level)


def _moved(slot: int, whole: bool = False) -> Reference:
    def move(image: Image.Image, level: float, *_: Any) -> Image.Image:
        value, matrix = 0.3 * (2 * level - 1), [1.0, 0, 0, 0, 1, 0]
        matrix[slot] = int(value * image.size[0]) if whole else value
        return image.transform(image.size, AFFINE, matrix)

    return move


def _cutout(image: Image.Image, level: float, _: float, place: tuple[float, float]) -> Image.Image:
    half = (1 + int(level * min(image.size) * 0.499)) // 2
    y, x = (int(p * image.size[0]) for p in place)
    box = (x - half, y - half, x + half, y + half)
    image = image.copy()
    if half:
        image.paste((127, 127, 127) if image.mode == "RGB" else 127, box)
    return image


def _rescale(image: Image.Image, level: float, second: float, *_: Any) -> Image.Image:
    (w, h), out = image.size, 0.25 * level
    method = Image.Resampling[METHODS[int(second * 6)]]
    return image.crop((out * w, out * h, w * (1 - out), h * (1 - out))).resize((w, h), method)


# the definitions of google-research/fixmatch's ctaugment.py; translations are the paper's table's
PIL: dict[str, Reference] = {
    "autocontrast": _blended(ImageOps.autocontrast),
    "blur": _blended(lambda image: image.filter(ImageFilter.BLUR)),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "color": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "cutout": _cutout,
    "equalize": _blended(ImageOps.equalize),
    "identity": lambda image, *_: image,
    "invert": _blended(ImageOps.invert),
    "posterize": lambda image, level, *_: ImageOps.posterize(image, 1 + int(level * 7.999)),
    "rescale": _rescale,
    "rotate": lambda image, level, *_: image.rotate(int(np.round((2 * level - 1) * 45))),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    "shear_x": _moved(1),
    "shear_y": _moved(3),
    "smooth": _blended(lambda image: image.filter(ImageFilter.SMOOTH)),
    "solarize": lambda image, level, *_: ImageOps.solarize(image, int(level * 255.999)),
    "translate_x": _moved(2, whole=True),
    "translate_y": _moved(5, whole=True),
}


@pytest.mark.filterwarnings("ignore:.*checksums")
@pytest.mark.parametrize("name", PIL)
def test_an_operation_is_pils(name: str, data_root: Path) -> None:
    colour = photographs(data_root)
    given = torch.rand(36, 4)
    given[:, 0] = (torch.arange(36) + 0.5) / 36
    given[:, 1] = (torch.arange(36) % 6 + 0.5) / 6
    for images in (colour, digits(36)):
        ours = CT_OPS[name](images, given).clamp(0, 1)
        theirs = torch.stack(
            [
                from_pil(PIL[name](to_pil(image), level, second, (y, x)))
                for image, (level, second, y, x) in zip(images, given.tolist(), strict=True)
            ]
        )
        error = (ours - theirs).abs().mean((1, 2, 3)) * 255
        assert error.mean() < 0.7, name
        assert error.max() < 2, name
    if name != "identity":
        assert (CT_OPS[name](colour, given) - colour).abs().mean() > 0.2 / 255


def test_there_are_the_nineteen_operations() -> None:
    assert set(BINS) == set(CT_OPS) == set(PIL)
    policy = CTAugment()
    assert policy.ops == list(BINS)
    assert {n for n, bins in BINS.items() if bins != (17,)} == {"identity", "posterize", "rescale"}
    assert int(policy.rates.sum()) == 16 * 17 + 8 + 17 + 6


def one(rates: list[float], **options: Any) -> CTAugment:
    """A policy of one operation whose first bins have these rates, the others 0."""
    policy = CTAugment(depth=1, ops=["rotate"], **options)
    policy.rates.zero_()
    policy.rates[0, 0, : len(rates)] = torch.tensor(rates)
    return policy


def test_bins_are_weighed_by_their_rates_and_those_below_the_threshold_are_out() -> None:
    policy = one([0.0, 0.9, 0.5, 0.8, 0.7, 0.9])
    best = 0.9 + 0.01
    expected = torch.zeros(17)
    expected[[1, 3, 5]] = torch.tensor([1.0, 0.81 / best, 1.0])  # 0.71 / 0.91 = 0.78 is too low
    torch.testing.assert_close(policy.weights()[0, 0], expected)
    draws = policy.draw((60_000, 1, 8, 8), torch.Generator().manual_seed(0))
    level = policy.levels(draws["op"], draws["choice"], draws["within"])[:, 0, 0]
    count = (level * 17).long().bincount(minlength=17)
    assert count[expected == 0].sum() == 0  # never drawn
    torch.testing.assert_close(count / 60_000, expected / expected.sum(), rtol=0, atol=0.006)
    inside = (level * 17).frac()
    assert inside.mean() == pytest.approx(0.5, abs=0.01)  # uniform within the bin
    assert inside.std() == pytest.approx(12**-0.5, abs=0.01)


def test_equal_rates_are_drawn_alike_and_the_threshold_itself_is_enough() -> None:
    for policy in (one([0.3] * 17), one([0.0] * 17), CTAugment(depth=1)):
        assert set(policy.weights()[0, 0].tolist()) == {1.0}
    even = one([1.0, 0.5], decay=1.0, threshold=0.5)
    assert even.weights()[0, 0, :3].tolist() == [1.0, 0.5, 0.0]
    edge = torch.tensor([[[0.0, 0.0], [1 - 2**-24, 0.0]]]).transpose(0, 1)[:, None, 0]
    op = torch.zeros(2, 1, dtype=torch.int64)
    level = one([0.0, 1.0, 1.0]).levels(op, edge, torch.zeros(2, 1, 2))[:, 0, 0] * 17
    torch.testing.assert_close(level, torch.tensor([1.0, 2.0]))  # neither 0 nor beyond


def test_rates_move_by_hand() -> None:
    policy = CTAugment(ops=["rescale", "identity", "posterize"], decay=0.9)
    op = torch.tensor([[0, 2], [2, 1], [0, 0]])
    bins = torch.tensor([[[3, 1], [7, 0]], [[7, 0], [0, 0]], [[4, 5], [3, 5]]])
    policy.update(op, bins, torch.tensor([0.5, 0.3, 1.0]))
    expected = CTAugment(ops=policy.ops).rates
    expected[0, 0, 3] = 0.81 + 0.19 * 0.75  # 0.5 and 1.0: twice, by their mean
    expected[0, 1, 1] = 0.9 + 0.1 * 0.5
    expected[2, 0, 7] = 0.81 + 0.19 * 0.4
    torch.testing.assert_close(policy.rates, expected)  # 1.0 moves no rate of 1
    policy.reset()
    assert torch.equal(policy.rates, CTAugment(ops=policy.ops).rates)


def test_updates_are_the_reference_codes_up_to_their_order() -> None:
    """There, image after image: r <- r decay + (1 - decay) proximity."""
    policy, generator = CTAugment(), torch.Generator().manual_seed(0)
    slow = policy.rates.clone()
    for _ in range(20):
        op = torch.randint(19, (64, 2), generator=generator)
        level = torch.rand(64, 2, 2, generator=generator)
        p = torch.rand(64, generator=generator)
        bins = policy._bin(op, level, level)
        policy.update(op, bins, p)
        for n in range(64):
            for slot in range(2):
                for k in range(len(BINS[policy.ops[op[n, slot]]])):
                    cell = (int(op[n, slot]), k, int(bins[n, slot, k]))
                    slow[cell] = slow[cell] * 0.99 + 0.01 * p[n]
    torch.testing.assert_close(policy.rates, slow, rtol=0, atol=2e-3)
    assert (policy.rates - CTAugment().rates).abs().max() > 0.05


def test_probes_try_all_levels_alike_whatever_was_learnt() -> None:
    policy, images = one([1.0]), digits(64)
    tried = torch.cat([policy.probe(images, seed)["bin"][:, 0, 0] for seed in range(100)])
    assert (tried.bincount(minlength=17) / len(tried)).sub(1 / 17).abs().max() < 0.012
    probe = policy.probe(images, 0)
    assert torch.equal(probe["image"], policy.probe(images, 0)["image"])
    assert not torch.equal(probe["image"], policy.probe(images, 1)["image"])
    grey = (policy(images, 0) == 127 / 255).sum((1, 2, 3))
    assert grey.min() > 0  # a strong view has the square, a probe has none
    assert (probe["image"] == 127 / 255).sum() < grey.sum() / 4


def per_sample(image: Image.Image, policy: CTAugment, rng: np.random.Generator) -> Image.Image:
    """The reference, one image at a time."""
    for name in rng.choice(policy.ops, 2):
        levels = [0.0, 0.0]
        for k, bins in enumerate(BINS[name]):
            rate = policy.rates[policy.ops.index(name), k, :bins].double().numpy() + 0.01
            p = np.where(rate / rate.max() < 0.8, 0, rate / rate.max())
            levels[k] = (rng.choice(bins, p=p / p.sum()) + rng.random()) / bins
        image = PIL[name](image, levels[0], levels[1], (rng.random(), rng.random()))
    return _cutout(image, 1.0, 0.0, (rng.random(), rng.random()))


@pytest.mark.filterwarnings("ignore:.*checksums")
def test_batched_pictures_are_distributed_as_those_made_one_by_one(data_root: Path) -> None:
    """Mean, spread and distance from the picture itself, over 800 draws of each of 3 pictures."""
    policy, rng, n = CTAugment(), np.random.default_rng(0), 800
    level = torch.linspace(0, 1, 17)
    policy.rates *= 1 - level  # strong levels have been recognised badly
    assert 0 < (policy.weights() > 0).sum() < 110
    for picture in photographs(data_root)[:3]:
        batched = policy(picture.expand(n, -1, -1, -1), seed=7)
        single = torch.stack([from_pil(per_sample(to_pil(picture), policy, rng)) for _ in range(n)])
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
    policy, images = CTAugment(), digits(32)
    drawn = policy.draw(tuple(images.shape), torch.Generator().manual_seed(1))
    whole = policy.apply_to(images, drawn)
    for k in range(32):
        row = {name: value[k : k + 1] for name, value in drawn.items()}
        torch.testing.assert_close(policy.apply_to(images[k : k + 1], row)[0], whole[k])
    assert (whole != images).flatten(1).any(1).float().mean() > 0.9


def test_the_same_seed_gives_the_same_pictures_and_the_argument_stays() -> None:
    policy, images = CTAugment(), digits(32)
    before, state = images.clone(), torch.get_rng_state()
    assert torch.equal(policy(images, 3), policy(images, 3))
    assert not torch.equal(policy(images, 3), policy(images, 4))
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert policy(images, 3).amin() >= 0
    assert policy(images, 3).amax() <= 1


@pytest.mark.ddp
def test_two_ranks_learn_the_rates_of_one_process(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.augment.programs_ct_augment:rates", atol=1e-6)


def test_wrong_settings_are_refused() -> None:
    for options, message in (
        ("ctaugmnt", "did you mean ctaugment"),
        ({"policy": "ctaugment", "count": 2}, "no setting 'count'"),
        ({"policy": "ctaugment", "treshold": 0.8}, "did you mean threshold"),
        ({"policy": "ctaugment", "ops": ["rescal"]}, "did you mean rescale"),
        ({"policy": "ctaugment", "threshold": 1.5}, "threshold must be in 0 ... 1, not 1.5"),
        ({"policy": "ctaugment", "depth": -1}, "depth -1 must be at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            strong_from(options)
    made = strong_from({"policy": "ctaugment", "cutout": 0.0})
    assert isinstance(made, CTAugment)
    assert (made.depth, made.decay, made.threshold, made.cutout) == (2, 0.99, 0.8, 0.0)
    assert isinstance(made.rates, Tensor)
