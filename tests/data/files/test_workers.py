"""Crops of folders and shards: the same whoever makes them, in memory that is used again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.data import ImageFolder
from genlab.data.files import workers
from genlab.data.files.workers import Filled, Shape, Slots, Wanted, make
from genlab.data.shards.packing import Packing, pack
from tests.data.files.test_encoded import photograph

USES: dict[str, dict[str, Any]] = {
    "simclr": {"views": "simclr"},
    "multicrop": {"views": "multicrop"},
    "supervised": {"augment": {"flip": True, "crop": [0.08, 1.0]}},
    "shift": {"augment": {"flip": True, "translate": 3}},
    "fixmatch": {
        "augment": {"flip": True, "crop": [0.5, 1.0]},
        "labels": 6,
        "unlabeled_ratio": 2,
        "steps_per_epoch": 4,
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 photographs of three classes and several sizes."""
    root = tmp_path_factory.mktemp("photographs")
    for k in range(36):
        place = root / "train" / "abc"[k % 3]
        place.mkdir(parents=True, exist_ok=True)
        photograph(40 + k, 70 - k, seed=k).save(place / f"{k:02}.jpg", quality=90)
    return root


@pytest.fixture(scope="module")
def shards(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("packed") / "shards"
    pack(folder, target, Packing(megabytes=0.02))
    return target


def batches(root: Path, use: str, world: int = 1, first: int = 0, **kwargs: Any) -> list[Any]:
    """An epoch's batches as rank ``first`` of ``world`` gets them, on their way to the device."""
    options = {"batch_size": 6, "val_size": 0, "test_size": 0, "seed": 1} | USES[use] | kwargs
    data = ImageFolder(str(root), image_size=24, **options)
    data.setup()
    loader: Any = data.train_dataloader()
    loader.rank, loader.world = first, world
    loader.set_epoch(2)
    return [_bytes(batch) for batch in loader]


def _bytes(batch: dict[str, Any]) -> Any:
    """Crops of a batch and its positions, of every part."""
    if "labeled" in batch:
        return _bytes(batch["labeled"]) + _bytes(batch["unlabeled"])
    return [*batch["crops"], batch["index"]]


def equal(one: list[Any], other: list[Any]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a, b) for x, y in pairs for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("use", USES)
def test_workers_and_shards_make_the_same_crops(folder: Path, shards: Path, use: str) -> None:
    alone = batches(folder, use, workers=0)
    assert len(alone) == 4 if use == "fixmatch" else 6
    assert equal(alone, batches(folder, use, workers=2))
    assert equal(alone, batches(shards, use, workers=0))


@pytest.mark.parametrize("use", USES)
def test_two_ranks_make_the_crops_of_one(folder: Path, use: str) -> None:
    whole = batches(folder, use, workers=0)
    ranks = [batches(folder, use, 2, rank, workers=0) for rank in range(2)]
    for batch, *halves in zip(whole, *ranks, strict=True):
        for part, *pieces in zip(batch, *halves, strict=True):
            assert torch.equal(part, torch.stack(pieces, 1).flatten(0, 1))


@pytest.mark.parametrize("use", USES)
def test_a_pass_goes_on_in_its_middle(folder: Path, use: str) -> None:
    options = {"batch_size": 6, "val_size": 0, "test_size": 0, "workers": 0} | USES[use]
    straight, data = (
        batches(folder, use, workers=0),
        ImageFolder(str(folder), 24, seed=1, **options),
    )
    data.setup()
    loader: Any = data.train_dataloader()
    loader.set_epoch(2)
    given = iter(loader)
    next(given), next(given)
    again: Any = data.train_dataloader()
    again.load_state_dict(loader.state_dict())
    again.set_epoch(2)
    assert equal(straight[2:], [_bytes(batch) for batch in again])


def test_views_of_an_image_and_of_epochs_differ(folder: Path) -> None:
    one, other, _ = batches(folder, "simclr", workers=0)[0]
    assert not torch.equal(one, other)
    assert len({crop.sum().item() for crop in [*one, *other]}) == 12


def test_crops_reach_the_step_as_views(folder: Path) -> None:
    data = ImageFolder(str(folder), 24, batch_size=6, views="multicrop", workers=0)
    batch = next(data.batches("train"))
    sides = [view.shape[-1] for view in batch["views"]]
    assert sides == [24, 24, 10, 10, 10, 10, 10, 10]
    assert "crops" not in batch
    assert all(view.min() >= 0 and view.max() < 1 + 1e-6 for view in batch["views"])
    shown = data.to_device(data.whole(batch["index"]))
    assert torch.equal(shown["index"], batch["index"])
    assert shown["image"].shape == (6, 3, 24, 24)


def test_evaluation_sees_the_centre(folder: Path) -> None:
    streamed = ImageFolder(str(folder), 24, views="simclr", workers=0, crop_ratio=0.75)
    memory = ImageFolder(str(folder), 24, crop_ratio=0.75)
    for one, other in zip(streamed.batches("val"), memory.batches("val"), strict=True):
        assert torch.equal(one["image"], other["image"])
    full = next(ImageFolder(str(folder), 24).batches("val"))["image"]
    assert not torch.equal(full, one["image"])


class Numbers:
    """Images that are their row's number all over."""

    dtype = torch.uint8

    def shapes(self, wanted: Wanted) -> list[Shape]:
        return [(2, 2, 3), (4, 4, 3)]

    def fill(self, wanted: Wanted, batch: list[Tensor]) -> Filled:
        for part in batch:
            part[:] = torch.tensor(wanted.rows, dtype=torch.uint8).view(-1, 1, 1, 1)
        return Filled(wanted.rows, {})


def orders(count: int) -> Iterator[Wanted]:
    return (Wanted([k, k + 100]) for k in range(count))


@pytest.mark.parametrize("kept", [False, True])
def test_memory_is_used_again_and_never_under_a_batch_that_is_kept(kept: bool) -> None:
    held, places = [], set()
    for batch, filled in make(Numbers(), orders(40), 1):
        assert all((part[0] == filled.rows[0]).all() for part in batch)
        places.add(batch[0].data_ptr())
        held += [(filled.rows, batch)] if kept else []
        del batch
    for rows, batch in held:
        assert all((part[k] == row).all() for part in batch for k, row in enumerate(rows))
    most = workers.AHEAD + workers.HELD
    assert len(places) == 40 if kept else len(places) <= most


def test_a_piece_is_free_when_its_last_view_is_gone() -> None:
    slots = Slots(1, 10)
    number = slots.take(8)
    assert number == 0
    view = slots.lent(number, 8)[2:4].view(2, 1)
    assert slots.take(8) is None
    del view
    assert slots.take(11) is None
    assert slots.take(10) == 0


@pytest.fixture
def reserved(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Shared memory that was reserved."""
    memory: list[Tensor] = []
    plain = workers.torch_parts.shared

    def noted(rows: int, length: int) -> Tensor:
        memory.append(plain(rows, length))
        return memory[-1]

    monkeypatch.setattr(workers.torch_parts, "shared", noted)
    return memory


def all_read(count: int) -> None:
    rows = []
    for batch, filled in make(Numbers(), orders(count), 1):
        assert all((part[1] == filled.rows[1]).all() for part in batch)
        rows.append(filled.rows[0])
    assert rows == list(range(count))


@pytest.mark.parametrize("count", [1, 2, 40])
def test_memory_is_reserved_for_the_batches_that_come(reserved: list[Tensor], count: int) -> None:
    all_read(count)
    (memory,) = reserved
    assert len(memory) == min(count, workers.AHEAD + workers.HELD)


def test_no_new_memory_as_long_as_few_batches_are_held(reserved: list[Tensor]) -> None:
    held: list[list[Tensor]] = []
    for batch, _ in make(Numbers(), orders(12), 1):
        first = reserved[0].data_ptr()
        assert all(0 <= part.data_ptr() - first < reserved[0].nbytes for part in batch)
        if len(held) < workers.HELD - 1:
            held.append(batch)
        del batch


def test_without_shared_memory_batches_are_copied(
    monkeypatch: pytest.MonkeyPatch, reserved: list[Tensor]
) -> None:
    monkeypatch.setattr(workers, "SHARE", 0.0)
    all_read(5)
    assert not reserved


def test_batches_are_copied_where_another_process_took_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(rows: int, length: int) -> Tensor:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>")

    monkeypatch.setattr(workers.torch_parts, "shared", none)
    all_read(5)
