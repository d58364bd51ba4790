"""Decoding by torchvision's decoder on a device: the CPU's crops, whoever and wherever makes them.

The device is the CPU here: no test of this file has run on a GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.io
from PIL import Image
from torch import Tensor

from genlab.data import ImageFolder, ImageTable
from genlab.data.files import on_gpu
from genlab.data.files.encoded import Encoded
from genlab.data.shards.packing import Packing, pack
from tests.conftest import Here
from tests.data.files.test_encoded import photograph
from tests.data.files.test_workers import USES, batches, equal
from tests.data.sources import assert_trains_evaluates_and_resumes

CPU = torch.device("cpu")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU in the place of the GPU."""
    monkeypatch.setattr(on_gpu, "device_for", lambda trainer: CPU)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of files of each call of the device's decoder."""
    counts: list[int] = []
    decode = torchvision.io.decode_jpeg

    def counted(data: list[Tensor], *args: Any) -> list[Tensor]:
        counts.append(len(data))
        return decode(data, *args)

    monkeypatch.setattr(torchvision.io, "decode_jpeg", counted)
    return counts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 photographs of three classes, most of them JPEGs that a GPU decodes."""
    root = tmp_path_factory.mktemp("photographs")
    for k in range(36):
        place = root / "train" / "abc"[k % 3]
        place.mkdir(parents=True, exist_ok=True)
        picture, exif = photograph(40 + k, 70 - k, seed=k), Image.Exif()
        if k % 9 == 4:
            picture.save(place / f"{k:02}.png")
            continue
        exif[0x0112] = 6 if k % 9 == 5 else 1
        picture = picture.convert("CMYK") if k % 9 == 6 else picture
        picture.save(place / f"{k:02}.jpg", quality=90, exif=exif)
    return root


@pytest.mark.parametrize("use", USES)
def test_crops_are_those_of_images_that_the_cpu_decodes_whole(
    folder: Path, use: str, gpu: None, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Encoded, "scale_for", lambda encoded, need: 1)
    ours = batches(folder, use, workers=0, decode="gpu")
    assert len(decoded) == len(ours) * (2 if use == "fixmatch" else 1)
    assert use == "fixmatch" or sum(decoded) == 24  # of 36
    theirs = batches(folder, use, workers=0)
    exact = 0
    for one, other in zip(ours, theirs, strict=True):
        for mine, cpus in zip(one, other, strict=True):
            assert (mine.shape, mine.dtype) == (cpus.shape, cpus.dtype)
            errors = (mine.float() - cpus.float()).abs().flatten(1 if mine.ndim > 1 else 0)
            assert errors.mean(-1).max() < (1.5 if mine.ndim > 1 else 1e-6)
            exact += int((errors.amax(-1) == 0).sum()) if mine.ndim > 1 else 0
    assert exact >= 12  # what the CPU decodes in both


EVERY = [use if use == "simclr" else pytest.param(use, marks=pytest.mark.slow) for use in USES]


@pytest.mark.parametrize("use", EVERY)
def test_workers_shards_ranks_and_a_pass_resumed_make_the_same_crops(
    folder: Path, use: str, gpu: None, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"decode": "gpu", "workers": 0}
    alone = batches(folder, use, **options)
    pack(folder, tmp_path / "shards", Packing(megabytes=0.02))
    assert equal(alone, batches(tmp_path / "shards", use, **options))
    if use == "simclr":  # worker processes take a while to start
        assert equal(alone, batches(folder, use, decode="gpu", workers=2))
    ranks = [batches(folder, use, 2, rank, **options) for rank in range(2)]
    for batch, *halves in zip(alone, *ranks, strict=True):
        for part, *pieces in zip(batch, *halves, strict=True):
            assert torch.equal(part, torch.stack(pieces, 1).flatten(0, 1))
    assert equal(alone[2:], resumed(folder, use, 2))


def resumed(root: Path, use: str, after: int) -> list[Any]:
    """The rest of the pass that `batches` makes, read by a new loader."""
    options = {"batch_size": 6, "val_size": 0, "test_size": 0, "workers": 0, "seed": 1}
    data = ImageFolder(str(root), image_size=24, decode="gpu", **options | USES[use])
    data.setup()
    loader, again = data.train_dataloader(), data.train_dataloader()
    loader.set_epoch(2)
    given = iter(loader)
    for _ in range(after):
        next(given)
    again.load_state_dict(loader.state_dict())
    again.set_epoch(2)
    parts = [[b] if "crops" in b else [b["labeled"], b["unlabeled"]] for b in again]
    return [[x for part in some for x in [*part["crops"], part["index"]]] for some in parts]


def test_a_broken_image_is_replaced_and_a_jpeg_that_is_cut_short_does_not_reach_the_gpu(
    tmp_path: Path, gpu: None, decoded: list[int]
) -> None:
    for k in range(6):
        photograph(40, 50, seed=k).save(tmp_path / f"{k}.jpg", quality=90)
    whole = (tmp_path / "3.jpg").read_bytes()
    (tmp_path / "3.jpg").write_bytes(whole[: len(whole) // 2])
    options: dict[str, Any] = {"labels": None, "val_size": 0, "test_size": 0, "seed": 0}
    data = ImageFolder(
        str(tmp_path), 24, batch_size=6, views="simclr", workers=0, decode="gpu", **options
    )
    with pytest.warns(UserWarning, match=r"cannot be read and are replaced.*3\.jpg.*truncated"):
        batch = next(data.batches("train"))
    assert sorted(batch["index"].tolist()) == [0, 1, 2, 4, 4, 5]
    assert decoded == [6]


def test_what_the_gpu_refuses_is_decoded_by_the_cpu(
    folder: Path, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, refused = torchvision.io.decode_jpeg, list[Tensor]()

    def picky(data: list[Tensor], *args: Any) -> list[Tensor]:
        if any(len(one) % 2 for one in data):
            refused.extend(one for one in data if len(data) == 1)
            raise RuntimeError("nvjpeg: unsupported")
        return decode(data, *args)

    expected = batches(folder, "supervised", workers=0, decode="gpu")
    monkeypatch.setattr(torchvision.io, "decode_jpeg", picky)
    monkeypatch.setattr(Encoded, "scale_for", lambda encoded, need: 1)
    with pytest.warns(UserWarning, match="decoded by the CPU, for the GPU's decoder refuses them"):
        found = batches(folder, "supervised", workers=0, decode="gpu")
    assert 4 < len(refused) < 24
    for (crop, index), (other, same) in zip(found, expected, strict=True):
        assert torch.equal(index, same)
        assert (crop.float() - other.float()).abs().flatten(1).mean(1).max() < 1.5


def test_grey_crops_are_a_jpegs_own_brightness(
    folder: Path, gpu: None, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = batches(folder, "shift", workers=0, decode="gpu", channels=1)
    monkeypatch.setattr(Encoded, "scale_for", lambda encoded, need: 1)
    theirs = batches(folder, "shift", workers=0, channels=1)
    assert sum(decoded) == 24
    for (one, _), (other, _) in zip(ours, theirs, strict=True):
        assert one.shape[1] == 1
        assert (one.float() - other.float()).abs().flatten(1).mean(1).max() < 1.5


def test_few_images_are_decoded_at_the_same_time(
    folder: Path, gpu: None, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = batches(folder, "simclr", workers=0, decode="gpu")
    decoded.clear()
    monkeypatch.setattr(on_gpu, "AT_ONCE", 5000)  # pixels of one or two
    assert equal(together, batches(folder, "simclr", workers=0, decode="gpu"))
    assert sum(decoded) == 24
    assert max(decoded) <= 2
    monkeypatch.setattr(on_gpu, "LARGE", 2900)  # the workers decode larger ones
    decoded.clear()
    batches(folder, "simclr", workers=0, decode="gpu")
    assert 0 < sum(decoded) < 24


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "requires random crops of files"),
        ({"views": "simclr", "in_memory": True}, "requires random crops of files"),
        ({"augment": {"flip": True}}, "requires random crops of files"),
        ({"views": "simclr", "channels": 4}, "requires channels 1 or 3"),
        ({"decode": "cuda"}, "unknown decode 'cuda'; choose from cpu, gpu"),
    ],
)
def test_settings_without_a_use_of_the_gpu_are_refused(
    options: dict[str, Any], message: str
) -> None:
    for kind in (ImageFolder, ImageTable):
        with pytest.raises(ValueError, match=message):
            kind("nowhere", **{"decode": "gpu"} | options)


def test_evaluation_requires_no_gpu_and_is_the_cpus(folder: Path) -> None:
    options: dict[str, Any] = {"views": "simclr", "workers": 0}
    data = ImageFolder(str(folder), 24, decode="gpu", **options)
    pairs = zip(data.batches("val"), ImageFolder(str(folder), 24, **options).batches("val"),
                strict=True)  # fmt: skip
    assert all(torch.equal(one["image"], other["image"]) for one, other in pairs)
    with pytest.raises(ValueError, match="decode 'gpu' requires a GPU; this machine has none"):
        data.train_dataloader()


def test_a_training_on_the_cpu_of_a_machine_with_a_gpu_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    class Trainer:
        class strategy:
            root_device = CPU

    with pytest.raises(ValueError, match="decode 'gpu' requires training on a GPU, not on cpu"):
        on_gpu.device_for(Trainer)
    assert on_gpu.device_for(None) == torch.device("cuda")


def test_a_run_without_a_gpu_is_refused_and_a_login_node_shows_and_submits_it(
    here: Here, folder: Path
) -> None:
    words = ["simclr/imagenet100", f"data.root={folder}", "data.decode=gpu", "data.batch_size=4",
             "model.encoder=small_cnn", "model.encoder_kwargs={}", "trainer.precision=32-true",
             "trainer.sync_batchnorm=false", "trainer.callbacks=[]"]  # fmt: skip
    _, err = here("fit", *words, code=2)
    assert "decode 'gpu' requires a GPU; this machine has none" in err
    assert "data.decode" in err
    assert len(err.strip().splitlines()) <= 3
    assert not (here.folder / "runs").exists()
    out, _ = here("fit", *words, "--print_config")
    assert "decode: gpu" in out
    out, _ = here("submit", *words, "--dry-run")
    assert "data.decode=gpu" in out


@pytest.mark.slow
def test_a_run_trains_evaluates_and_resumes(
    here: Here, folder: Path, gpu: None, decoded: list[int]
) -> None:
    words = [f"data={ImageFolder.__name__}", f"data.root={folder}", "data.decode=gpu"]
    assert_trains_evaluates_and_resumes(here, *words, "model.encoder=small_cnn")
    assert len(decoded) >= 8  # four steps, and two and two
