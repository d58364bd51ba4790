"""Each switch does what its name says, as torchvision does it with the same parameters."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as tv

from genlab.augment import Augment, from_options
from genlab.augment.draws import Params
from tests.conftest import TwoRanks

SWITCHES: list[dict[str, Any]] = [
    {"flip": True},
    {"translate": 4},
    {"rotate": 15.0},
    {"scale": 0.2},
    {"shear": 10.0},
    {"crop": [0.3, 1.0]},
    {"erase": 1.0},
    {"cutout": 8},
    {"brightness": 0.4},
    {"contrast": 0.4},
]
ALL: dict[str, Any] = {k: v for switch in SWITCHES for k, v in switch.items()}


def pictures(n: int = 64, channels: int = 3, size: int = 32) -> Tensor:
    """Smooth random pictures in [0.1, 0.9], no two alike."""
    coarse = torch.rand(n, channels, 5, 5)
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear") * 0.8 + 0.1


def drawn(augment: Augment, image: Tensor, seed: int = 3) -> Params:
    return augment.draw(tuple(image.shape), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda s: next(iter(s)))
def test_every_switch_changes_most_images_and_no_argument(switch: dict[str, Any]) -> None:
    image = pictures()
    before = image.clone()
    after = Augment(**switch)(image, seed=1)
    assert torch.equal(image, before)
    assert after.shape == image.shape
    assert 0 <= after.min() <= after.max() <= 1
    changed = (after != image).flatten(1).any(1).float().mean()
    assert changed > (0.3 if "flip" in switch else 0.9)


def test_without_strength_images_pass_untouched() -> None:
    image = pictures()
    assert torch.equal(Augment()(image, seed=1), image)
    still: Params = {
        "flip": torch.zeros(64, dtype=torch.bool),
        "shift": torch.zeros(64, 2, dtype=torch.int64),
        "angle": torch.zeros(64),
        "scale": torch.ones(64),
        "shear": torch.zeros(64),
        "crop": torch.tensor([[0, 0, 32, 32]]).repeat(64, 1),
        "brightness": torch.ones(64),
        "contrast": torch.ones(64),
        "erase": torch.zeros(64, 4, dtype=torch.int64),
        "cutout": torch.zeros(64, 4, dtype=torch.int64),
    }
    assert still.keys() == drawn(Augment(**ALL), image).keys()
    torch.testing.assert_close(Augment(**ALL).apply_to(image, still), image, rtol=0, atol=2e-6)


def test_the_seed_decides_and_the_global_generator_is_left_alone() -> None:
    image, augment = pictures(), Augment(**ALL)
    before = torch.get_rng_state()
    assert torch.equal(augment(image, 4), augment(image, 4))
    assert not torch.equal(augment(image, 4), augment(image, 5))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.ddp
def test_two_ranks_see_what_one_process_sees(two_ranks: TwoRanks) -> None:
    one, ranks = two_ranks.results("tests.data.programs:augmented_batches")
    for rank, batches in enumerate(ranks):
        for whole, mine in zip(one, batches, strict=True):
            assert torch.equal(whole["index"][rank::2], mine["index"])
            torch.testing.assert_close(whole["image"][rank::2], mine["image"], rtol=0, atol=1e-6)


def test_flip_is_torchvisions_on_half_of_the_images() -> None:
    image = pictures(1000, 1, 4)
    flipped = drawn(Augment(flip=True), image)["flip"]
    assert 430 < flipped.sum() < 570
    after = Augment(flip=True).apply_to(image, {"flip": flipped})
    assert torch.equal(after[flipped], tv.horizontal_flip(image[flipped]))
    assert torch.equal(after[~flipped], image[~flipped])


@pytest.mark.parametrize(("padding", "mode"), [("reflect", "reflect"), ("zeros", "constant")])
def test_translate_is_the_random_crop_of_the_padded_image(padding: str, mode: str) -> None:
    image, augment = pictures(2000, 1, 8), Augment(translate=2, padding=padding)
    shift = drawn(augment, image)["shift"]
    for column in shift.T:
        assert column.unique().tolist() == [-2, -1, 0, 1, 2]
        assert (torch.bincount(column + 2) - 400).abs().max() < 80
    after = augment.apply_to(image, {"shift": shift})
    for i in range(50):
        padded = tv.pad(image[i], [2], padding_mode=mode)
        top, left = (shift[i] + 2).tolist()
        assert torch.equal(after[i], tv.crop(padded, top, left, 8, 8))


@pytest.mark.parametrize("switch", ["rotate", "scale", "shear", "together"])
@pytest.mark.parametrize("size", [(32, 32), (20, 28)])
def test_affine_is_torchvisions(switch: str, size: tuple[int, int]) -> None:
    most = {"rotate": 40.0, "scale": 0.3, "shear": 20.0}
    augment = Augment(**({switch: most[switch]} if switch in most else most), padding="zeros")  # type: ignore[arg-type]
    image = tv.resize(pictures(20), list(size))
    given = drawn(augment, image)
    after = augment.apply_to(image, given)
    names = ("angle", "scale", "shear")
    assert [given[n].std() > 0 for n in names] == [switch in (k, "together") for k in most]
    for i in range(len(image)):
        angle, scale, shear = (float(given[n][i]) for n in names)
        theirs = tv.affine(
            image[i], angle, [0, 0], scale, [shear, 0.0], interpolation=InterpolationMode.BILINEAR
        )
        torch.testing.assert_close(after[i], theirs, rtol=0, atol=1e-4)


def test_affine_parameters_fill_their_ranges() -> None:
    given = drawn(Augment(rotate=10, scale=0.25, shear=5), pictures(4000, 1, 4))
    for name, low, high in (("angle", -10, 10), ("scale", 0.75, 1.25), ("shear", -5, 5)):
        values = given[name]
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high >= values.max() > high - 0.01 * (high - low)
        assert values.std() == pytest.approx((high - low) / 12**0.5, rel=0.05)


def test_crop_is_torchvisions_resized_crop() -> None:
    image, augment = pictures(30), Augment(crop=[0.2, 1.0])
    boxes = drawn(augment, image)["crop"]
    after = augment.apply_to(image, {"crop": boxes})
    for i, (top, left, height, width) in enumerate(boxes.tolist()):
        theirs = tv.resized_crop(image[i], top, left, height, width, [32, 32])
        torch.testing.assert_close(after[i], theirs, rtol=0, atol=1e-4)


def same_distribution(ours: Tensor, theirs: Tensor) -> None:
    """Kolmogorov's distance of two samples of N is below 1.95 sqrt(2 / N) in 999 of 1000 cases."""
    every = torch.cat([ours, theirs]).double().unique()
    below = [
        torch.searchsorted(x.double().sort().values, every, right=True) / len(x)
        for x in (ours, theirs)
    ]
    assert (below[0] - below[1]).abs().max() < 1.95 * (2 / len(ours)) ** 0.5


def test_crop_boxes_are_distributed_as_torchvisions() -> None:
    n, image = 3000, torch.zeros(1, 32, 32)
    theirs_of = v2.RandomResizedCrop(32, scale=(0.2, 1.0))
    theirs = [theirs_of.make_params([image]) for _ in range(n)]
    ours = drawn(Augment(crop=[0.2, 1.0]), torch.zeros(n, 1, 32, 32))["crop"]
    for column, name in enumerate(("top", "left", "height", "width")):
        same_distribution(ours[:, column], torch.tensor([p[name] for p in theirs]))
    area = torch.tensor([p["height"] * p["width"] for p in theirs])
    same_distribution(ours[:, 2] * ours[:, 3], area)


def test_erased_boxes_are_distributed_as_torchvisions() -> None:
    n, image = 3000, torch.zeros(1, 32, 32)
    theirs_of = v2.RandomErasing(p=1)
    theirs = [theirs_of.make_params([image]) for _ in range(n)]
    ours = drawn(Augment(erase=1.0), torch.zeros(n, 1, 32, 32))["erase"]
    for column, name in enumerate("ijhw"):
        same_distribution(ours[:, column], torch.tensor([p[name] for p in theirs]))
    same_distribution(ours[:, 2] * ours[:, 3], torch.tensor([p["h"] * p["w"] for p in theirs]))


def test_erasing_takes_its_share_of_images_and_of_area() -> None:
    after = Augment(erase=0.25)(torch.ones(4000, 1, 32, 32), seed=2)
    share = (after == 0).flatten(1).float().mean(1)
    hit = share > 0
    assert hit.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert 0.015 < share[hit].min() < 0.05  # 2 % before rounding to pixels
    assert 0.30 < share[hit].max() < 0.345
    assert share[hit].mean().item() == pytest.approx(0.175, abs=0.01)  # the middle of 2 and 33 %


def test_cutout_is_a_square_about_any_pixel_cut_off_at_the_borders() -> None:
    after = Augment(cutout=8, fill=0.5)(torch.ones(4000, 1, 32, 32), seed=2)
    gone = (after == 0.5).squeeze(1)
    rows, columns = gone.any(2).sum(1), gone.any(1).sum(1)
    assert torch.equal(gone.flatten(1).sum(1), rows * columns)
    for sides in (rows, columns):
        assert sides.unique().tolist() == [4, 5, 6, 7, 8]
        assert (sides == 8).float().mean().item() == pytest.approx(25 / 32, abs=0.03)
    assert gone.float().mean((0, 1, 2)).item() == pytest.approx(
        (7.0 / 32 + 0.5 / 32) ** 2, abs=0.004
    )


def test_noise_fills_what_is_erased() -> None:
    after = Augment(erase=1.0, fill="noise")(torch.zeros(500, 3, 32, 32), seed=2)
    inside = after[after > 0]
    assert inside.mean().item() == pytest.approx(0.5, abs=0.01)
    assert inside.std().item() == pytest.approx(12**-0.5, abs=0.01)


@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_and_contrast_are_torchvisions(channels: int) -> None:
    image, augment = pictures(30, channels), Augment(brightness=0.5, contrast=0.5)
    given = drawn(augment, image)
    after = augment.apply_to(image, given)
    for i in range(len(image)):
        theirs = tv.adjust_brightness(image[i], float(given["brightness"][i]))
        theirs = tv.adjust_contrast(theirs, float(given["contrast"][i]))
        torch.testing.assert_close(after[i], theirs, rtol=0, atol=1e-3)  # their weights: 3 digits
    for factor in drawn(augment, pictures(2000, 1, 4)).values():
        assert 0.5 <= factor.min() < 0.51 < 1.49 < factor.max() <= 1.5


def test_draws_of_different_images_are_independent() -> None:
    given = drawn(Augment(rotate=10, brightness=0.5), pictures(2000, 1, 4))
    angle, bright = given["angle"], given["brightness"]
    assert abs(torch.corrcoef(torch.stack([angle[:-1], angle[1:]]))[0, 1]) < 0.1
    assert abs(torch.corrcoef(torch.stack([angle, bright]))[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flipp": True}, "no switch 'flipp'; did you mean flip"),
        ({"flip": 0.5}, "flip must be true or false"),
        ({"translate": 1.5}, "translate must be a whole number"),
        ({"rotate": -1}, "rotate must be a number in 0 ... 180"),
        ({"erase": 1.1}, "erase must be a number in 0 ... 1"),
        ({"crop": [0.5, 0.2]}, "crop must be"),
        ({"crop": 0.5}, "crop must be"),
        ({"padding": "edge"}, "reflect or zeros"),
        ({"fill": "random"}, "0 ... 1 or noise"),
    ],
)
def test_wrong_switches_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_options(options)


def test_no_options_are_no_augmentation() -> None:
    assert from_options(None) is None
    assert from_options({}) is None
    assert (
        str(from_options({"flip": True, "crop": [0.5, 1]})) == "Augment(flip=True, crop=[0.5, 1])"
    )


def test_a_translation_beyond_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="translate 8 must be less than the image's side 8"):
        Augment(translate=8)(pictures(2, 1, 8), seed=1)


@pytest.mark.benchmarks
def test_the_usual_switches_cost_a_few_milliseconds() -> None:
    image = torch.rand(256, 3, 32, 32)
    for options in ({"flip": True, "translate": 4}, ALL):
        augment, best = Augment(**options), float("inf")
        for seed in range(20):
            start = time.process_time()
            augment(image, seed)
            best = min(best, time.process_time() - start)
        print(f"\n{augment}: {best * 1e3:.1f} ms for 256 images of 3 x 32 x 32")
        assert best < 0.03
