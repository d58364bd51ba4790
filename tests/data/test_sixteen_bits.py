"""Images of 16 bits a channel: nothing of their precision is lost between the file and a step."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from genlab.data import ImageFolder
from genlab.data.files import decoding
from genlab.data.shards.packing import Packing, pack
from tests.conftest import Here
from tests.data.files.test_encoded import photograph
from tests.data.files.test_sixteen import colour_of_more_bits, png, read, values
from tests.data.sources import as_folder, assert_equal, assert_trains_evaluates_and_resumes
from tests.data.test_four_channels import bands, hugging_face, shards, table, web_dataset


@pytest.mark.parametrize("kind", ["tif", "ppm", "sgi", "jp2"])
def test_colour_of_which_8_bits_can_be_read_is_refused(kind: str, tmp_path: Path) -> None:
    data = colour_of_more_bits(kind)
    with pytest.raises(
        OSError, match=r"colour of more than 8 bits cannot be read from .*: write a PNG"
    ):
        read(data, 3)
    (tmp_path / f"0.{kind}").write_bytes(data)
    for k in range(4):
        (tmp_path / f"{k + 1}.png").write_bytes(png(values(seed=k)))
    memory = folder(tmp_path)
    with pytest.warns(UserWarning, match=rf"1 of 5 images .* left out; .*0\.{kind}: colour of"):
        memory.setup()


def test_damaged_and_huge_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(5):
        (tmp_path / f"{k}.png").write_bytes(png(values(seed=k))[: 500 if k == 2 else None])
    data = folder(tmp_path, in_memory=False)
    with pytest.warns(UserWarning, match=r"1 images so far .*2\.png: it is a damaged PNG"):
        assert len(list(data.bank_dataloader("train"))) == 2
    monkeypatch.setattr(decoding, "MOST", 1000)
    with pytest.raises(OSError, match="40 x 30 pixels, more than"):
        read(png(values()), 3)


def folder(root: Path, **kwargs: Any) -> ImageFolder:
    options: dict[str, Any] = {
        "batch_size": 4, "eval_batch_size": 4, "seed": 1, "workers": 0, "val_size": 0,
        "test_size": 0, "dtype": "uint16",
    }  # fmt: skip
    return ImageFolder(str(root), 16, **(options | kwargs))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    every = [(png(values(30 + k, 50 - k, seed=k)), k % 3) for k in range(18)]
    return as_folder(tmp_path_factory.mktemp("deep"), every)


def test_a_step_sees_65536_levels(tmp_path: Path) -> None:
    ramp = np.arange(65536).reshape(256, 256, 1).astype(np.uint16)
    (tmp_path / "ramp.png").write_bytes(png(ramp))
    for in_memory in (False, True):
        data = ImageFolder(str(tmp_path), 256, 1, batch_size=1, dtype="uint16", val_size=0,
                           test_size=0, workers=0, in_memory=in_memory)  # fmt: skip
        image = next(data.batches("train"))["image"]
        assert image.dtype == torch.float32
        assert torch.equal(image.flatten().mul(65535).round().long(), torch.arange(65536))
        assert (image.min(), image.max()) == (0, 1)


@pytest.mark.parametrize(
    "options", [{}, {"augment": {"crop": [0.2, 1.0]}}, {"augment": {"translate": 3}},
                {"views": "multicrop", "channels": 4}], ids=["whole", "crop", "shift", "views"]
)  # fmt: skip
def test_workers_memory_ranks_and_resuming_give_the_same_values(
    options: dict[str, Any], root: Path
) -> None:
    def loader(rank: int = 0, world: int = 1, **kwargs: Any) -> Any:
        data = folder(root, **(options | {"in_memory": False} | kwargs))
        data.setup()
        found: Any = data.train_dataloader()
        found.rank, found.world = rank, world
        found.set_epoch(2)
        return found

    alone = list(loader())
    image = alone[0]["image" if "image" in alone[0] else "crops"]
    assert (image if isinstance(image, torch.Tensor) else image[0]).dtype == torch.uint16
    assert_equal(alone, list(loader(workers=2)))
    if not options:
        assert_equal(alone, list(loader(in_memory=True)))
    halves = [list(loader(rank, 2)) for rank in range(2)]
    for whole, *pieces in zip(alone, *halves, strict=True):
        parts = [_images(piece) for piece in pieces]
        for one, *others in zip(_images(whole), *parts, strict=True):
            assert torch.equal(one, torch.stack(others, 1).flatten(0, 1))
    first = loader()
    next(iter(first))
    again = loader()
    again.load_state_dict(first.state_dict())
    assert_equal(alone[1:], list(again))


@pytest.mark.parametrize("source", [table, shards, hugging_face, web_dataset])
def test_every_source_gives_the_values_of_a_folder(
    source: Callable[..., Any], tmp_path: Path
) -> None:
    every = [(png(values(20 + k, 30 - k, seed=k)), k // 4) for k in range(12)]
    options: dict[str, Any] = {
        "image_size": 16, "batch_size": 4, "seed": 1, "workers": 0, "val_size": 0, "test_size": 0.2,
        "dtype": "uint16", "views": "simclr",
    }  # fmt: skip
    expected = ImageFolder(str(as_folder(tmp_path / "folder", every)), **options)
    found = source(tmp_path / "source", every, **options)
    for data in (expected, found):
        data.setup()
    pairs = [[*data.train_dataloader(), *data.test_dataloader()] for data in (found, expected)]
    assert_equal(*pairs)
    assert pairs[0][0]["crops"][0].dtype == pairs[0][-1]["image"].dtype == torch.uint16


@pytest.mark.parametrize("resize", [None, 8])
def test_packing_keeps_the_bytes_of_what_a_jpeg_would_lose(
    resize: int | None, tmp_path: Path
) -> None:
    """Sixteen bits and transparency; an opaque fourth channel is nothing to lose."""
    kept = {1: png(values(channels=1)), 3: png(values(channels=3)), 4: png(values(channels=4))}
    kept[5] = _saved(bands())
    plain = {6: _saved(photograph()), 7: _saved(photograph().convert("RGBA"))}
    (tmp_path / "images").mkdir()
    for k, data in (kept | plain).items():
        (tmp_path / "images" / f"{k}.png").write_bytes(data)
    pack(tmp_path / "images", tmp_path / "shards", Packing(resize=resize))
    with tarfile.open(next((tmp_path / "shards").glob("*.tar"))) as tar:
        packed = [tar.extractfile(member).read() for member in tar]  # type: ignore[union-attr]
    assert set(kept.values()) <= set(packed)
    assert len(set(plain.values()) & set(packed)) == (0 if resize else 2)


def _saved(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _images(batch: Any) -> list[torch.Tensor]:
    return batch["crops"] if "crops" in batch else [batch["image"]]


def test_a_crop_is_the_files_to_a_65536th(tmp_path: Path) -> None:
    pixels = values(40, 40)
    (tmp_path / "0.png").write_bytes(png(pixels))
    data = folder(tmp_path, batch_size=1, augment={"crop": [1.0, 1.0]}, in_memory=False)
    found = next(data.batches("train"))["image"]
    exact = torch.from_numpy(pixels / 65535).permute(2, 0, 1)[None]
    size = (16, 16)
    expected = F.interpolate(exact, size, mode="bilinear", antialias=True)
    assert (found - expected).abs().max() < 1 / 65535
    eight = folder(tmp_path, batch_size=1, augment={"crop": [1.0, 1.0]}, dtype="uint8")
    assert (next(eight.batches("train"))["image"] - expected).abs().max() > 100 / 65535


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float64"}, "unknown dtype 'float64'; choose from uint8, uint16"),
        (
            {"decode": "gpu", "views": "simclr"},
            "decode .gpu. cannot be combined with dtype .uint16.",
        ),
        ({"binarize": "dynamic"}, "dtype 'uint16' cannot be combined with binarize 'dynamic'"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        folder(Path("anywhere"), **options)


@pytest.mark.slow
def test_it_trains_evaluates_and_resumes(here: Here, root: Path) -> None:
    words = ("data=ImageFolder", f"data.root={root}", "data.dtype=uint16", "data.test_size=6")
    assert_trains_evaluates_and_resumes(here, *words)


def test_batches_are_floats_in_chain(root: Path) -> None:
    data = folder(root, val_size=4, test_size=4, views="simclr")
    every = chain(data.batches("train"), data.batches("val"), data.batches("test"))
    for batch in every:
        images = batch.get("views", [batch.get("image")])
        assert all(one.dtype == torch.float32 and one.max() <= 1.000001 for one in images)
