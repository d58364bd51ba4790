"""Folders of pictures: any layout, size and mode; in memory and streamed alike."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.data import BrokenDataError, ImageFolder, MissingDataError
from genlab.data.files import cuts, reader
from genlab.data.files import workers as streaming
from genlab.data.files.decoding import Form, decode
from genlab.data.files.reader import Files
from genlab.data.loader import Batch


def picture(file: Path, size: tuple[int, int] = (20, 14), mode: str = "RGB", seed: int = 0) -> None:
    """Noise, smooth enough that scaling keeps some of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size).convert(mode).save(file)


def classes(root: Path, n: int = 10, names: tuple[str, ...] = ("cat", "dog")) -> Path:
    for label, name in enumerate(names):
        for k in range(n):
            picture(root / name / f"{k:02}.png", (12 + k, 20 - k), seed=100 * label + k)
    return root


def batches(data: ImageFolder, epoch: int = 1) -> list[Batch]:
    loader = data.train_dataloader()
    loader.set_epoch(epoch)
    evaluation = data.bank_dataloader("val"), data.test_dataloader()
    return list(chain(loader, *evaluation))


def assert_equal(ours: list[Batch], theirs: list[Batch]) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        for key in mine:
            assert torch.equal(torch.as_tensor(mine[key]), torch.as_tensor(other[key])), key


def folder(root: Path, **arguments: Any) -> ImageFolder:
    settings: dict[str, Any] = {"image_size": 8, "batch_size": 4, "eval_batch_size": 3}
    return ImageFolder(str(root), **(settings | {"seed": 1, "workers": 0} | arguments))


@pytest.mark.parametrize("workers", [0, 2])
def test_streaming_gives_the_batches_of_memory(tmp_path: Path, workers: int) -> None:
    classes(tmp_path)
    state = torch.get_rng_state()
    memory, stream = folder(tmp_path), folder(tmp_path, in_memory=False, workers=workers)
    assert_equal(batches(stream), batches(memory))
    assert torch.equal(torch.get_rng_state(), state)
    assert memory.splits().keys() == stream.splits().keys()


def test_streaming_resumes_at_the_batch_that_was_handed_out_not_the_one_fetched(
    tmp_path: Path,
) -> None:
    data = folder(classes(tmp_path), in_memory=False, workers=2)
    loader = data.train_dataloader()
    loader.set_epoch(3)
    whole = list(loader)
    running = iter(loader)
    next(running), next(running)
    state = loader.state_dict()
    assert state["position"] == 2
    fresh = data.train_dataloader()
    fresh.load_state_dict(state)
    fresh.set_epoch(3)
    assert_equal(list(fresh), whole[2:])


def test_layout_of_class_folders(tmp_path: Path) -> None:
    data = folder(classes(tmp_path), val_size=4, test_size=2)
    assert (data.classes, data.num_classes, data.channels) == (["cat", "dog"], 2, 3)
    parts = data.splits()
    assert sorted(np.concatenate(list(parts.values()))) == list(range(20))
    assert [(parts["val"] < 10).sum(), (parts["test"] < 10).sum()] == [2, 1]
    for batch in batches(data):
        assert torch.equal(batch["label"], (batch["index"] >= 10).long())


def test_layout_of_train_val_and_test(tmp_path: Path) -> None:
    for part, n in (("train", 6), ("valid", 2), ("test", 3)):
        classes(tmp_path / part, n)
    sizes = {name: len(rows) for name, rows in folder(tmp_path).splits().items()}
    assert sizes == {"train": 12, "val": 4, "test": 6}
    picture(tmp_path / "test" / "dgo" / "x.png")
    with pytest.raises(
        BrokenDataError, match="not a class of the training images; nearest is 'dog'"
    ):
        folder(tmp_path).setup()


@pytest.mark.parametrize("place", ["ILSVRC/Data/CLS-LOC", "CLS-LOC"])
def test_a_download_of_imagenet_is_not_one_class(tmp_path: Path, place: str) -> None:
    for part in ("train", "val"):
        classes(tmp_path / place / part, 2)
    with pytest.raises(BrokenDataError, match=f"parts are in {place}: data=ImageNet data.root="):
        folder(tmp_path).setup()
    assert folder(tmp_path, unlabeled=True).num_classes == 0


def test_tar_files_have_a_reader(tmp_path: Path) -> None:
    (tmp_path / "train-0.tar").touch()
    with pytest.raises(MissingDataError, match=r"no images in .*\n.*data=WebDataset"):
        folder(tmp_path).setup()


def test_only_the_setting_out_of_range_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^workers -1 must be 0 or more$"):
        folder(tmp_path, workers=-1)


def test_layout_without_classes(tmp_path: Path) -> None:
    for k in range(10):
        picture(tmp_path / f"{k}.jpg")
    data = folder(tmp_path)
    assert data.num_classes == 0
    assert {int(label) for batch in batches(data) for label in batch["label"]} == {-1}


def test_classes_can_be_ignored_and_loose_pictures_have_no_label(tmp_path: Path) -> None:
    classes(tmp_path)
    picture(tmp_path / "loose.png")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").write_text("no picture")
    assert folder(tmp_path, unlabeled=True).num_classes == 0
    data = folder(tmp_path, val_size=0, test_size=0)
    assert data.num_classes == 2
    labels = torch.cat([batch["label"] for batch in data.bank_dataloader("train")])
    assert torch.bincount(labels + 1).tolist() == [1, 10, 10]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "1", "LA", "I;16", "I", "F"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_is_read(tmp_path: Path, mode: str, channels: int) -> None:
    grey = np.linspace(0, 255, 30 * 20).reshape(20, 30).round()
    if mode == "I;16":
        image = Image.fromarray((grey * 257).astype(np.uint16))
    else:
        image = Image.fromarray(grey.astype(np.uint8)).convert(mode)
    image.save(tmp_path / "x.tif")
    pixels = decode(tmp_path / "x.tif", Form(20, channels))
    assert pixels.shape == (channels, 20, 20)
    assert pixels.dtype == np.uint8
    expected = grey[:, 5:25]
    tolerance = 60 if mode == "1" else 3  # dithered: only the mean is near
    error = np.abs(pixels.mean() - expected.mean()) if mode == "1" else np.abs(pixels - expected)
    assert np.max(error) <= tolerance


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert (decode(tmp_path / "clear.png", Form(9, 3)) == 255).all()


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    upright = Image.new("RGB", (40, 40), "black")
    upright.paste("white", (0, 0, 40, 20))  # white above
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "x.jpg", exif=exif, quality=95)
    pixels = decode(tmp_path / "x.jpg", Form(40, 1))[0]
    assert pixels[:15].min() > 240
    assert pixels[25:].max() < 15


def test_the_shorter_side_is_scaled_smoothly_and_the_centre_kept(tmp_path: Path) -> None:
    stripes = np.zeros((64, 192), dtype=np.uint8)
    stripes[:, 64:128] = np.arange(64) % 2 * 255  # one pixel wide: only averaging gives grey
    Image.fromarray(stripes).save(tmp_path / "x.png")
    pixels = decode(tmp_path / "x.png", Form(8, 1))[0]
    assert np.abs(pixels[:, 1:-1].astype(int) - 127).max() < 30


def test_small_pictures_are_enlarged(tmp_path: Path) -> None:
    Image.new("L", (3, 1), 77).save(tmp_path / "x.png")
    assert (decode(tmp_path / "x.png", Form(16, 1)) == 77).all()


def break_some(root: Path) -> None:
    whole = (root / "cat" / "03.png").read_bytes()
    (root / "cat" / "03.png").write_bytes(whole[: len(whole) // 2])
    (root / "dog" / "05.png").write_text("not a picture")


def test_broken_pictures_are_left_out_of_memory_with_one_warning(tmp_path: Path) -> None:
    break_some(classes(tmp_path))
    data = folder(tmp_path, val_size=0, test_size=0)
    with pytest.warns(UserWarning, match=r"2 of 20 images cannot be read.*cat/03\.png") as said:
        data.setup()
    assert len(said) == 1
    assert sorted(data.splits()["train"]) == [k for k in range(20) if k not in (3, 15)]


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_pictures_give_way_to_the_next_when_streamed(tmp_path: Path, workers: int) -> None:
    break_some(classes(tmp_path))
    data = folder(tmp_path, val_size=0, test_size=0, in_memory=False, workers=workers)
    loader = data.train_dataloader()
    with pytest.warns(UserWarning, match="2 images so far cannot be read") as said:
        rows = torch.cat([batch["index"] for batch in loader])
    assert len(said) == 1
    again = torch.cat([batch["index"] for batch in loader])  # without another warning
    expected = [k for k in range(20) if k not in (3, 15)] + [4, 16]
    assert sorted(rows.tolist()) == sorted(expected)
    assert torch.equal(rows, again)
    assert loader.source.broken == {3, 15}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("memory", [True, False])
def test_evaluation_leaves_broken_pictures_out(
    tmp_path: Path, workers: int, memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = classes(tmp_path)
    break_some(root)
    monkeypatch.setattr(streaming, "SHARE", 0.5 * memory)
    inside = folder(root, val_size=0, test_size=0)
    with pytest.warns(UserWarning, match="2 of 20 images cannot be read and are left out"):
        expected = list(inside.bank_dataloader("train"))
    data = folder(root, val_size=0, test_size=0, in_memory=False, workers=workers)
    with pytest.warns(UserWarning, match="images so far cannot be read and are left out"):
        found = list(data.bank_dataloader("train"))
    for key in ("image", "label", "index"):
        ours, theirs = (torch.cat([batch[key] for batch in some]) for some in (found, expected))
        assert torch.equal(ours, theirs), key


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no")
    (tmp_path / "b.png").write_text("no")
    for in_memory in (True, False):
        data = folder(tmp_path, val_size=0, test_size=0, batch_size=1, in_memory=in_memory)
        with pytest.raises(BrokenDataError, match="none of 2 images can be read"):
            next(iter(data.train_dataloader()))


def test_reading_gives_up_after_many_broken_pictures_in_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, opened = classes(tmp_path, 9, ("cat",)), []
    for k in range(7):
        (root / "cat" / f"{k:02}.png").write_text("not a picture")

    def noted(self: Files, row: int) -> Path:
        opened.append(row)
        return self.paths[row]

    monkeypatch.setattr(Files, "open", noted)
    data = folder(root, val_size=0, test_size=0, in_memory=False)
    source = data.train_dataloader().source
    monkeypatch.setattr(reader, "GIVE_UP", 8)
    with pytest.warns(UserWarning, match="7 images so far cannot be read"):
        assert next(source.read([torch.tensor([0])]))["index"].tolist() == [7]
    opened.clear()
    monkeypatch.setattr(reader, "GIVE_UP", 5)
    with pytest.raises(BrokenDataError, match=r"none of 5 images in a row .* first: .*00\.png"):
        next(source.read([torch.tensor([0])]))
    assert opened == [0, 0, 1, 2, 3, 4]  # the batch, then a replacement


def test_a_cut_that_fails_is_no_broken_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: Any) -> torch.Tensor:
        raise ZeroDivisionError("of the cut")

    options: dict[str, Any] = {"augment": {"translate": 2}, "val_size": 0, "test_size": 0}
    data = folder(classes(tmp_path), in_memory=False, **options)
    monkeypatch.setattr(cuts.Shift, "of", wrong)
    with pytest.raises(ZeroDivisionError, match="of the cut"):
        next(iter(data.train_dataloader()))


@pytest.mark.parametrize("in_memory", [True, False, None])
def test_translations_that_the_pictures_are_too_small_for(in_memory: bool | None) -> None:
    options: dict[str, Any] = {"in_memory": in_memory, "augment": {"translate": 8}}
    with pytest.raises(ValueError, match="translate 8 must be less than the image's side 8"):
        folder(Path("anywhere"), **options)
    folder(Path("anywhere"), in_memory=in_memory, augment={"translate": 8, "padding": "zeros"})


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(
        MissingDataError,
        match=r"no folder .*/photoz/a; .* is 'photos'\nif it has moved: data.root=FOLDER",
    ):
        folder(tmp_path / "photoz" / "a").prepare_data()
    with pytest.raises(MissingDataError, match=r"no images in .*photos"):
        folder(tmp_path / "photos").num_classes  # noqa: B018
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingDataError, match="file is a file"):
        folder(tmp_path / "file").setup()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 0}, "image_size 0"),
        ({"channels": 2}, "channels 2"),
        ({"workers": -1}, "workers -1"),
        ({"binarize": "fixed", "in_memory": False}, "requires in_memory: true"),
    ],
)
def test_wrong_arguments_are_refused_at_construction(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        folder(Path("anywhere"), **arguments)


def test_grey_pictures_can_be_binarised(tmp_path: Path) -> None:
    data = folder(classes(tmp_path), channels=1, binarize="fixed")
    batch = data.to_device(next(iter(data.train_dataloader())))
    assert batch["image"].shape == (4, 1, 8, 8)
    assert set(batch["image"].unique().tolist()) <= {0.0, 1.0}


def test_an_image_that_has_changed_since_it_was_listed_is_told(tmp_path: Path) -> None:
    data = folder(classes(tmp_path), in_memory=False, val_size=0, test_size=0)
    data.setup()
    picture(tmp_path / "cat" / "03.png", (40, 40))
    with pytest.warns(UserWarning, match=r"1 images so far have changed .*03\.png: \d+ bytes, now"):
        list(data.train_dataloader())
