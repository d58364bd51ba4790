"""Cuts: torchvision's distribution, Pillow's pixels, and the detail of the original."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torchvision.transforms import RandomResizedCrop

from genlab.data.files.cuts import COUNT, RandomCrop, Shift, cut_out, numbers
from genlab.data.files.encoded import Encoded
from tests.data.files.test_encoded import photograph, saved

SHAPES = [(375, 500), (500, 375), (64, 64), (100, 900)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("area", [(0.08, 1.0), (0.05, 0.14)])
def test_boxes_have_torchvisions_distribution(
    shape: tuple[int, int], area: tuple[float, float]
) -> None:
    torch.manual_seed(0)
    cut, count, image = RandomCrop(8, area), 3000, torch.empty(1, *shape)
    ours = [cut.box(*shape, drawn) for drawn in numbers(7, np.arange(count), 0)]
    theirs = [RandomResizedCrop.get_params(image, list(area), [3 / 4, 4 / 3]) for _ in range(count)]
    for mine, other in zip(np.array(ours).T, np.array(theirs).T, strict=True):
        if mine.std() or other.std():
            assert stats.ks_2samp(mine, other).pvalue > 1e-3
        else:
            assert mine[0] == other[0]


def test_numbers_depend_on_seed_place_and_stream_alone() -> None:
    every = numbers(3, np.arange(64), 1)
    assert every.shape == (64, COUNT)
    assert np.array_equal(every[1::2], numbers(3, np.arange(1, 64, 2), 1))
    for other in (numbers(4, np.arange(64), 1), numbers(3, np.arange(64), 2)):
        assert not np.isin(other, every).any()


def test_numbers_are_uniform_and_independent() -> None:
    drawn = numbers(5, np.arange(20_000), 0)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert all(stats.kstest(column, "uniform").pvalue > 1e-4 for column in drawn.T)
    others = np.roll(drawn, 1, 0), numbers(6, np.arange(20_000), 0)
    correlation = np.asarray(np.corrcoef(np.hstack([drawn, *others]).T))
    assert np.abs(correlation - np.eye(3 * COUNT)).max() < 5 / math.sqrt(20_000)


def by_pillow(picture: Image.Image, box: tuple[int, int, int, int], size: int) -> np.ndarray:
    top, left, tall, wide = box
    part = picture.crop((left, top, left + wide, top + tall))
    return np.asarray(part.resize((size, size), Image.Resampling.BILINEAR)).astype(float)


@pytest.mark.parametrize("size", [16, 48])
def test_a_crop_is_pillows(size: int) -> None:
    cut, picture = RandomCrop(size, (0.08, 1.0)), photograph(120, 160)
    encoded, drawn = Encoded(saved(picture, "PNG"), 3), numbers(1, np.arange(40), 0)
    for one in drawn:
        (found,) = cut_out(encoded, [cut], one[None])
        expected = by_pillow(picture, cut.box(120, 160, one), size)
        assert np.abs(found.permute(1, 2, 0).numpy() - expected).mean() < 0.25


def high(pixels: np.ndarray) -> float:
    """Energy of the upper half of the frequencies of an image's brightness."""
    grey = pixels.mean(2)
    spectrum = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    frequency = np.abs(np.fft.fftfreq(len(grey)))
    return float(spectrum[np.maximum.outer(frequency, frequency) > 0.25].sum())


def test_decoding_at_a_smaller_scale_is_as_sharp() -> None:
    cut = RandomCrop(64, (0.3, 1.0))
    encoded = Encoded(saved(photograph(800, 1000), quality=90), 3)
    whole = Image.fromarray(encoded.pixels())
    errors, energies, used = [], [], set()
    for drawn in numbers(2, np.arange(30), 0):
        (found,) = cut_out(encoded, [cut], drawn[None])
        box = cut.box(800, 1000, drawn)
        scale = encoded.scale_for(min(box[2:]) / 64)
        top, left, tall, wide = (round(side / scale) * scale for side in box)
        expected = by_pillow(whole, (top, left, tall, wide), 64)
        errors.append(np.abs(found.permute(1, 2, 0).numpy() - expected).mean())
        energies.append(high(found.permute(1, 2, 0).numpy().astype(float)) / high(expected))
        used.add(scale)
    assert used >= {4, 8}
    assert np.mean(errors) < 3
    assert np.mean(energies) > 0.95


def test_detail_outside_the_centre_square_appears_at_full_sharpness(tmp_path: Path) -> None:
    """Stripes one pixel wide at the left of a wide image: gone in a shrunken centre square."""
    pixels = np.full((256, 1024, 3), 128, np.uint8)
    pixels[:, :384] = np.where(np.arange(384) % 2, 255, 0)[None, :, None]
    file = tmp_path / "wide.png"
    Image.fromarray(pixels).save(file)
    cut = RandomCrop(64, (0.016, 0.02))  # about 64 pixels a side
    crops = [next(cut_out(Encoded(file, 3), [cut], d[None])) for d in numbers(0, np.arange(60), 0)]
    contrast = [float(crop.float().diff(dim=2).abs().mean()) for crop in crops]
    assert max(contrast) > 120  # neighbours differ by half of full scale and more
    assert sum(c > 30 for c in contrast) > 12  # a third of the places show stripes


def test_small_views_do_not_spoil_large_ones() -> None:
    """One decoding for all views: fine enough for the one that needs most."""
    encoded = Encoded(saved(photograph(640, 640), quality=95), 3)
    large, small = RandomCrop(128, (0.9, 1.0)), RandomCrop(8, (0.9, 1.0))
    drawn = np.stack([numbers(0, np.arange(1), k)[0] for k in range(2)])
    one, other = cut_out(encoded, [large, small], drawn)
    assert (one.shape, other.shape) == ((3, 128, 128), (3, 8, 8))
    alone = next(cut_out(encoded, [large], drawn[:1]))
    assert torch.equal(one, alone)


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
def test_a_shift_moves_whole_pixels_and_shows_what_lies_beside_the_centre(padding: str) -> None:
    picture = photograph(40, 80)
    encoded, cut = Encoded(saved(picture, "PNG"), 3), Shift(40, 4, padding)
    pixels, seen = np.asarray(picture), set()
    for drawn in numbers(3, np.arange(200), 0):
        down, right = (int(u * 9) - 4 for u in drawn[:2])
        (found,) = cut_out(encoded, [cut], drawn[None])
        shown = found.permute(1, 2, 0).numpy()
        seen.add((down, right))
        inside = shown[max(0, -down) : 40 - max(0, down)]
        rows = slice(max(0, down), 40 + min(0, down))
        assert np.array_equal(inside, pixels[rows, 20 + right : 60 + right])
        if down > 0:
            beyond = shown[40 - down :]
            mirrored = pixels[38 : 38 - down : -1, 20 + right : 60 + right]
            assert np.array_equal(beyond, mirrored if padding == "reflect" else 0 * beyond)
    assert len(seen) > 70
    assert min(seen) >= (-4, -4)
    assert max(seen) <= (4, 4)
