"""Images of colour and transparency: the fourth channel is kept, from every source."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.data import HuggingFace, ImageFolder, ImageTable, WebDataset
from genlab.data.encoded_images import EncodedImages
from genlab.data.files.decoding import Form, decode
from genlab.data.files.encoded import Encoded
from genlab.data.shards.packing import Packing, pack
from tests.conftest import Here
from tests.data.files.test_encoded import photograph
from tests.data.sources import (
    Example,
    as_folder,
    assert_equal,
    assert_trains_evaluates_and_resumes,
    batches,
)


def bands(height: int = 30, width: int = 40, seed: int = 0) -> Image.Image:
    """A photograph with a fourth channel of its own."""
    fourth = photograph(height, width, seed + 500).getchannel(1)
    picture = photograph(height, width, seed)
    picture.putalpha(fourth)
    return picture


def png(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def examples(count: int = 18, first: int = 0) -> list[Example]:
    every = range(first, first + count)
    return [(png(bands(24 + k % 7, 40 - k % 5, k)), k % 3) for k in every]


@pytest.mark.parametrize("size", [30, 12, 45])
def test_every_channel_is_scaled_by_itself(size: int) -> None:
    """Colour under transparent pixels counts as all other colour does, and is kept."""
    picture = bands()
    found = decode(BytesIO(png(picture)), Form(size, 4))
    for channel, one in zip(found, picture.split(), strict=True):
        assert np.array_equal(channel, decode(BytesIO(png(one)), Form(size, 1))[0])
    clear = Image.new("RGBA", (40, 30), (10, 200, 30, 0))
    assert (decode(BytesIO(png(clear)), Form(size, 4)).reshape(4, -1).T == (10, 200, 30, 0)).all()
    assert np.array_equal(Encoded(BytesIO(png(picture)), 4).pixels(), np.asarray(picture))


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "CMYK", "1", "I;16", "I", "F"])
def test_an_image_without_a_fourth_channel_is_opaque(mode: str, tmp_path: Path) -> None:
    grey = photograph().convert("L")
    picture = (
        grey.convert(mode)
        if mode != "I;16"
        else Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    )
    picture.save(tmp_path / "x.tif")
    for found in (
        decode(tmp_path / "x.tif", Form(61, 4, 1.0)),
        Encoded(tmp_path / "x.tif", 4).pixels().transpose(2, 0, 1)[:, :, 11:72],
    ):
        assert (found[3] == 255).all()
        assert np.array_equal(found[:3], decode(tmp_path / "x.tif", Form(61, 3)))


def test_a_jpeg_is_opaque_and_scaled_down_as_it_is_decoded() -> None:
    buffer = BytesIO()
    photograph(64, 96).save(buffer, "JPEG", quality=90)
    for scale in (1, 4):
        four, three = (Encoded(BytesIO(buffer.getvalue()), c).pixels(scale) for c in (4, 3))
        assert np.array_equal(four[..., :3], three)
        assert (four[..., 3] == 255).all()


@pytest.mark.parametrize("kind", ["LA", "P", "RGB"])
def test_transparency_of_any_kind_is_the_fourth_channel(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    if kind == "RGB":
        Image.new("RGB", (9, 9), (1, 2, 3)).save(file, transparency=(1, 2, 3))
    elif kind == "P":
        Image.new("L", (9, 9), 5).convert("P").save(file, transparency=5)
    else:
        Image.new(kind, (9, 9), (4, 0)).save(file)
    assert (decode(file, Form(9, 4))[3] == 0).all()


def test_a_fourth_channel_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    Image.new("RGBX", (9, 9), (1, 2, 3, 7)).save(tmp_path / "0.tif")
    with pytest.raises(OSError, match="fourth channel has no name: write a PNG"):
        Encoded(tmp_path / "0.tif", 4).pixels()
    for k in range(4):
        bands(seed=k).save(tmp_path / f"{k + 1}.png")
    data = ImageFolder(str(tmp_path), 16, channels=4, batch_size=4, val_size=0, test_size=0)
    with pytest.warns(UserWarning, match=r"1 of 5 images .* left out; .*0\.tif: its fourth"):
        data.setup()


def table(root: Path, pictures: list[Example], **kwargs: Any) -> ImageTable:
    folder = as_folder(root / "images", pictures)
    lines = [f"{f.relative_to(folder)},{f.parent.name}" for f in sorted(folder.rglob("*.jpg"))]
    (folder / "table.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    return ImageTable(str(folder / "table.csv"), **kwargs)


def shards(root: Path, pictures: list[Example], **kwargs: Any) -> ImageFolder:
    pack(as_folder(root / "images", pictures), root / "shards", Packing())
    return ImageFolder(str(root / "shards"), **kwargs)


def hugging_face(root: Path, pictures: list[Example], **kwargs: Any) -> HuggingFace:
    pytest.importorskip("pyarrow")
    from tests.data.test_hugging_face import save_to_disk, table

    return HuggingFace(str(save_to_disk(root, [table(pictures)])), **kwargs)


def web_dataset(root: Path, pictures: list[Example], **kwargs: Any) -> WebDataset:
    from tests.data.test_web_dataset import members, write

    write(root / "train.tar", members(pictures))
    return WebDataset(str(root), **kwargs)


@pytest.mark.parametrize("source", [table, shards, hugging_face, web_dataset])
@pytest.mark.parametrize("views", [None, "simclr"])
def test_every_source_keeps_the_fourth_channel_of_a_folder(
    source: Callable[..., EncodedImages], views: str | None, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "image_size": 16, "channels": 4, "batch_size": 4, "seed": 1, "workers": 0,
        "val_size": 0, "test_size": 0.2, "views": views,
    }  # fmt: skip
    pictures = sorted(examples(), key=lambda one: one[1])  # by class: the order of a folder
    folder = ImageFolder(str(as_folder(tmp_path / "folder", pictures)), **options)
    ours = source(tmp_path / "source", pictures, **options)
    for data in (ours, folder):
        data.setup()
    mine, theirs = ([*data.train_dataloader(), *data.test_dataloader()] for data in (ours, folder))
    assert_equal(mine, theirs)
    image = next(iter(folder.test_dataloader()))["image"]
    assert image.shape[1] == 4
    assert image[:, 3].float().std() > 20


@pytest.mark.parametrize("augment", [None, {"crop": [0.2, 1.0]}, {"translate": 3}])
def test_workers_and_memory_give_the_same_batches(
    augment: dict[str, Any] | None, tmp_path: Path
) -> None:
    root = as_folder(tmp_path, examples())

    def found(**kwargs: Any) -> list[Any]:
        data = ImageFolder(str(root), 16, channels=4, batch_size=4, seed=1, augment=augment,
                           val_size=3, **kwargs)  # fmt: skip
        data.setup()
        return batches(data)

    alone = found(workers=0, in_memory=False)
    assert_equal(alone, found(workers=2, in_memory=False))
    if augment is None:
        assert_equal(alone, found(in_memory=True))


def test_a_shift_shows_the_fourth_channel_in_its_place(tmp_path: Path) -> None:
    """Four equal channels stay equal through crops, shifts and flips."""
    grey = photograph().convert("L")
    for k in range(4):
        Image.merge("RGBA", [grey] * 4).save(tmp_path / f"{k}.png")
    for augment in ({"crop": [0.2, 0.5], "flip": True}, {"translate": 5}):
        data = ImageFolder(str(tmp_path), 16, channels=4, batch_size=4, workers=0, val_size=0,
                           test_size=0, augment=augment)  # fmt: skip
        image = next(data.batches("train"))["image"]
        assert torch.equal(image, image[:, :1].expand_as(image))


@pytest.mark.slow
def test_it_trains_evaluates_resumes_and_predicts(here: Here, tmp_path: Path) -> None:
    root = as_folder(tmp_path / "images", examples(24))
    assert_trains_evaluates_and_resumes(
        here, "data=ImageFolder", f"data.root={root}", "data.channels=4", "data.test_size=6"
    )
    other = as_folder(tmp_path / "more", examples(15, first=50))
    here("predict", str(here.runs()[0]), f"data.root={other}", "--out", "p.npz")
    assert (here.folder / "p.csv").read_text().count(".jpg") == 15
