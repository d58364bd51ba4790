"""Laws of crops for all that use them: Pillow's pixels, and nothing decoded that no view needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from torch import Tensor

from genlab.data import ImageFolder
from genlab.data.files.cuts import Cut, Numbers, Shift, numbers
from genlab.data.files.encoded import Encoded
from genlab.data.files.reader import STREAM, STREAMS
from tests.data.files.test_cuts import by_pillow, high
from tests.data.files.test_encoded import photograph
from tests.data.files.test_workers import USES

SIDE, SEED, EPOCH = 32, 1, 2
Crop = tuple[Path, list[Cut], Numbers, list[Tensor]]  # file, cuts, their numbers, the results


def images(root: Path, use: str, **kwargs: Any) -> ImageFolder:
    options = {"batch_size": 6, "val_size": 0, "test_size": 0, "seed": SEED, "workers": 0}
    return ImageFolder(str(root), image_size=SIDE, **options | USES[use] | kwargs)


def training(data: ImageFolder, rank: int = 0, world: int = 1) -> Any:
    data.setup()
    loader: Any = data.train_dataloader()
    loader.rank, loader.world = rank, world
    loader.set_epoch(EPOCH)
    return loader


def crops(data: ImageFolder, loader: Any) -> Iterator[Crop]:
    """Every image of a pass with the cuts that its views are, and what they came out as."""
    for batch in loader:
        parts = ["labeled", "unlabeled"] if "labeled" in batch else ["image"]
        for name in parts:
            part, cuts = batch.get(name, batch), data._files_of["train"].cuts[name]
            places = np.arange(len(part["index"])) * loader.world + loader.rank
            first = STREAMS.index(name) * STREAM
            drawn = [numbers(batch["seed"], places, first + k) for k in range(len(cuts))]
            files = data.file_names("train", part["index"].tolist())
            for k, file in enumerate(files):
                found = [view[k] for view in part["crops"]]
                yield Path(file), cuts, np.stack([d[k] for d in drawn]), found


def save(root: Path, sides: list[tuple[int, int]], kind: str) -> Path:
    root.mkdir()
    for k, (height, width) in enumerate(sides):
        photograph(height, width, seed=k).save(root / f"{k:02}.{kind}", quality=90)
    return root


def labelled(root: Path, sides: list[tuple[int, int]], kind: str) -> Path:
    """Photographs of three classes."""
    root.mkdir()
    for k in range(3):
        save(root / "abc"[k], sides[k::3], kind)
    return root


def reference(picture: Image.Image, cut: Cut, drawn: Numbers, scale: int = 1) -> np.ndarray:
    """The cut by Pillow's antialiased resize of the whole picture."""
    if not isinstance(cut, Shift):
        box = cut.box(picture.height, picture.width, drawn)
        top, left, tall, wide = (round(side / scale) * scale for side in box)
        return by_pillow(picture, (top, left, tall, wide), cut.size)
    grown = cut.size / min(picture.size)
    size = [max(cut.size, round(side * grown)) for side in picture.size]
    pixels = np.asarray(picture.resize(size, Image.Resampling.BILINEAR)).astype(float)
    pixels = np.pad(pixels, ((cut.most,) * 2, (cut.most,) * 2, (0, 0)), mode="reflect")
    down, right = (int(u * (2 * cut.most + 1)) for u in drawn[:2])
    top, left = (size[1] - cut.size) // 2 + down, (size[0] - cut.size) // 2 + right
    return pixels[top : top + cut.size, left : left + cut.size]


@pytest.mark.parametrize("use", USES)
def test_views_of_images_decoded_whole_are_pillows(tmp_path: Path, use: str) -> None:
    root = labelled(tmp_path / "png", [(90 + k, 130 - 3 * k) for k in range(18)], "png")
    data, errors = images(root, use), []
    for file, cuts, drawn, found in crops(data, training(data)):
        picture = Image.open(file)
        for cut, one, crop in zip(cuts, drawn, found, strict=True):
            expected = reference(picture, cut, one)
            errors.append(np.abs(crop.permute(1, 2, 0).numpy() - expected).mean())
    assert len(errors) >= 18
    assert max(errors) < 1.5


@pytest.mark.parametrize("use", USES)
def test_views_of_images_decoded_smaller_are_as_sharp(tmp_path: Path, use: str) -> None:
    root = labelled(tmp_path / "jpg", [(400 + 7 * k, 560 - 9 * k) for k in range(12)], "jpg")
    data, errors, energies, scales = images(root, use, steps_per_epoch=1), [], [], set()
    for file, cuts, drawn, found in crops(data, training(data)):
        encoded = Encoded(file, 3)
        whole = Image.fromarray(encoded.pixels())
        scale = encoded.scale_for(needed(encoded, cuts, drawn))
        scales.add(scale)
        for cut, one, crop in zip(cuts, drawn, found, strict=True):
            expected = reference(whole, cut, one, scale)
            ours = crop.permute(1, 2, 0).numpy().astype(float)
            errors.append(np.abs(ours - expected).mean())
            energies.append(high(ours) / high(expected))
    assert max(scales) >= 4
    assert np.mean(errors) < 3
    assert np.mean(energies) > 0.95


def needed(encoded: Encoded, cuts: list[Cut], drawn: Numbers) -> float:
    """Full pixels for each pixel of the view for which there are fewest."""
    boxes = [cut.box(encoded.height, encoded.width, d) for cut, d in zip(cuts, drawn, strict=True)]
    return min(min(box[2:]) / cut.size for cut, box in zip(cuts, boxes, strict=True))


class Decodings:
    """Record of what libjpeg-turbo decodes: the file's bytes, height and width of the result."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[bytes, int, int]] = []
        decode = simplejpeg.decode_jpeg

        def counted(data: bytes, *args: Any, **kwargs: Any) -> Any:
            pixels = decode(data, *args, **kwargs)
            self.seen.append((data, *pixels.shape[:2]))
            return pixels

        monkeypatch.setattr(simplejpeg, "decode_jpeg", counted)


@pytest.fixture(scope="module")
def various(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 JPEGs, from smaller than a view to more than eight times as large."""
    sides = [(24 + 10 * k, 40 + 9 * k) for k in range(30)]
    return labelled(tmp_path_factory.mktemp("various") / "images", sides, "jpg")


@pytest.mark.parametrize("use", USES)
def test_images_are_decoded_once_and_no_larger_than_their_views_need(
    various: Path, use: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = images(various, use)
    loader, decodings = training(data), Decodings(monkeypatch)
    passed, scales = list(crops(data, loader)), set()
    assert [seen[0] for seen in decodings.seen] == [file.read_bytes() for file, *_ in passed]
    if "labels" not in USES[use]:
        assert len({file for file, *_ in passed}) == len(passed) == 30
    for (_, height, width), (file, cuts, drawn, _) in zip(decodings.seen, passed, strict=True):
        encoded = Encoded(file, 3)
        need = needed(encoded, cuts, drawn)
        (scale,) = (s for s in (1, 2, 4, 8) if -(-encoded.height // s) == height)
        assert width == -(-encoded.width // scale)
        assert scale <= max(1, need)  # every view has the pixels that it needs
        assert scale == 8 or 2 * scale > need  # and half of them would not do
        scales.add(scale)
    assert len(scales) > 2


@pytest.mark.parametrize("use", USES)
def test_images_of_other_ranks_and_of_batches_before_are_not_decoded(
    various: Path, use: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = images(various, use)
    decodings = Decodings(monkeypatch)
    for rank in range(2):
        loader = training(data, rank, 2)
        share = [file.read_bytes() for file, *_ in crops(data, loader)]
        assert [seen[0] for seen in decodings.seen] == share
        decodings.seen.clear()
    stopped = training(data)
    given = iter(stopped)
    for _ in range(3):
        next(given)
    loader = training(data)
    loader.load_state_dict(stopped.state_dict())
    decodings.seen.clear()
    rest = [file.read_bytes() for file, *_ in crops(data, loader)]
    assert [seen[0] for seen in decodings.seen] == rest
    assert len(rest) == (18 if "labels" in USES[use] else 12)  # 1 batch of 3 x 6, or 2 of 6


@pytest.mark.parametrize("ratio", [0.875, 1.0])
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_evaluation_is_pillows_resize_and_centre_crop(
    tmp_path: Path, ratio: float, kind: str
) -> None:
    sides = [(60 + 40 * k, 350 - 30 * k) for k in range(9)]
    data = images(save(tmp_path / kind, sides, kind), "simclr", crop_ratio=ratio)
    data.setup()
    shorter = round(SIDE / ratio)
    for batch in data.bank_dataloader("train"):
        files = data.file_names("train", batch["index"].tolist())
        for file, found in zip(files, batch["image"], strict=True):
            picture = Image.open(file)
            scale = shorter / min(picture.size)
            width, height = (max(shorter, round(side * scale)) for side in picture.size)
            left, top = (width - SIDE) // 2, (height - SIDE) // 2
            whole = picture.resize((width, height), Image.Resampling.BICUBIC)
            expected = np.asarray(whole.crop((left, top, left + SIDE, top + SIDE))).astype(float)
            error = np.abs(found.permute(1, 2, 0).numpy() - expected).mean()
            assert error < (1.5 if kind == "png" else 3)
