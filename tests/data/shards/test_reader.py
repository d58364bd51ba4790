"""Shards: the pictures of the folder, in an order that knows no ranks, exactly resumable."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import tarfile
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from genlab.data import BrokenDataError, ImageFolder, MissingDataError
from genlab.data.loader import Batch
from genlab.data.shards import packing
from genlab.data.shards.index import INDEX, OPEN, Shelf, check, read_index
from genlab.data.shards.packing import Packing, pack
from genlab.data.shards.reader import ShardLoader, shard_order
from tests.conftest import TwoRanks
from tests.data.shards.programs_shards import FOLDER
from tests.data.test_image_folder import assert_equal, batches, break_some, classes, picture

SMALL = Packing(megabytes=0.02)  # ten pictures or so
TINY = Packing(megabytes=0.004)


def folder(root: Path, **arguments: Any) -> ImageFolder:
    settings: dict[str, Any] = {"image_size": 8, "batch_size": 4, "eval_batch_size": 3}
    return ImageFolder(
        str(root), **(settings | {"seed": 1, "workers": 0, "in_memory": False} | arguments)
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, JPEG and PNG: 36 to train and one without a label, 6 to test."""
    root = tmp_path_factory.mktemp("pictures")
    classes(root / "train", 12, ("cat", "dog", "emu"))
    classes(root / "test", 2, ("cat", "dog", "emu"))
    for k in range(4):
        (root / "train" / "dog" / f"{k:02}.png").unlink()
        picture(root / "train" / "dog" / f"{k:02}.jpg", (30, 20), seed=50 + k)
    picture(root / "train" / "loose.jpeg", (9, 9), seed=9)
    return root


@pytest.fixture(scope="module")
def shards(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("packed") / "shards"
    pack(tree, target, SMALL)
    return target


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Path:
    """A copy of the shards, to be spoilt."""
    return Path(shutil.copytree(shards, tmp_path / "copy"))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("more", [{}, {"val_size": 0.3, "limit": 20}, {"unlabeled": True}])
def test_shards_give_the_batches_of_the_folder(
    tree: Path, shards: Path, workers: int, more: dict[str, Any]
) -> None:
    theirs, ours = folder(tree, **more), folder(shards, workers=workers, **more)
    state = torch.get_rng_state()
    assert_equal(batches(ours), batches(theirs))
    assert torch.equal(torch.get_rng_state(), state)
    assert (ours.classes, ours.num_classes) == (theirs.classes, theirs.num_classes)
    for name, rows in theirs.splits().items():
        assert np.array_equal(ours.splits()[name], rows)


def test_in_memory_and_with_few_labels_too(tree: Path, shards: Path) -> None:
    assert_equal(batches(folder(shards, in_memory=True)), batches(folder(tree)))
    few: dict[str, Any] = {"labels": 6, "unlabeled_ratio": 2, "steps_per_epoch": 3}
    pairs = zip(*(folder(r, **few).train_dataloader() for r in (tree, shards)), strict=True)
    for theirs, ours in pairs:
        for stream in ("labeled", "unlabeled"):
            assert_equal([ours[stream]], [theirs[stream]])


def test_any_tar_program_reads_them(tree: Path, shards: Path) -> None:
    names = read_index(shards)[0]["parts"]["train"]["shards"]
    assert len(names) > 3
    found = {}
    for name in names:
        with tarfile.open(shards / name["name"]) as tar:
            for one in tar.getmembers():
                assert (one.mtime, one.uid, one.gid, one.uname, one.mode) == (0, 0, 0, "", 0o644)
                handle = tar.extractfile(one)
                assert handle is not None
                found[one.name] = handle.read()
    assert len(found) == 37 + 36  # the loose picture has no label
    assert found["000000001.cls"] == b"0"
    assert found["000000013.jpg"] == (tree / "train" / "dog" / "00.jpg").read_bytes()
    assert found["000000013.cls"] == b"1"
    assert not (shards / ".lock").exists()


# ---- the order -------------------------------------------------------------------------------


def rows_of(loader: Any) -> Tensor:
    return torch.cat([batch["index"] for batch in loader])


@pytest.mark.parametrize("order", ["global", "shards"])
@pytest.mark.parametrize("workers", [0, 2])
def test_every_epoch_has_its_own_order_whatever_the_workers(
    shards: Path, order: str, workers: int
) -> None:
    loader = folder(shards, order=order, workers=workers, val_size=0).train_dataloader()
    plain = folder(shards, order=order, val_size=0).train_dataloader()
    seen = []
    for epoch in range(2):
        for one in (loader, plain):
            one.set_epoch(epoch)
        seen.append(rows_of(loader))
        assert torch.equal(seen[-1], rows_of(plain))
        assert len(seen[-1].unique()) == len(seen[-1]) == 36
    assert not torch.equal(*seen)


def assert_union(whole: list[Batch], parts: list[Batch]) -> None:
    for key in ("image", "label", "index"):
        ours, theirs = (
            torch.cat([b[key] for b in some])[torch.cat([b["index"] for b in some]).argsort()]
            for some in (whole, parts)
        )
        assert torch.equal(ours, theirs), key


@pytest.mark.ddp
def test_two_ranks_share_the_global_batches(
    two_ranks: TwoRanks, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(shards))
    one, two = two_ranks.results("tests.data.shards.programs_shards:batches")
    for name in ("global", "shards"):
        for whole, *halves in zip(one[name], *(rank[name] for rank in two), strict=True):
            assert_union([whole], halves)
        assert_union(one[f"{name} val"], [*two[0][f"{name} val"], *two[1][f"{name} val"]])


@pytest.mark.parametrize("counts", [[1], [5, 3], [100] * 7 + [31], [1] * 200, [64], [1000]])
@pytest.mark.parametrize("window", [1, 100, 10**6])
def test_the_order_of_shards_is_a_permutation(counts: list[int], window: int) -> None:
    shard = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    first, again, other = (shard_order(shard, window, seed) for seed in (1, 1, 2))
    assert torch.equal(first.sort()[0], torch.arange(len(shard)))
    assert torch.equal(first, again)
    assert len(shard) < 10 or not torch.equal(first, other)


def test_a_rank_reads_from_end_to_end_and_few_shards_at_a_time() -> None:
    shard = torch.arange(50).repeat_interleave(400)
    order = shard_order(shard, window=800, seed=3, streams=8)
    stream = order[5::8]  # of rank 5 of 8
    lengths = [int((a != b).sum()) for a, b in pairwise(shard[stream].split(20))]
    assert sum(lengths) > 0
    for piece in stream.split(200):  # 100 places to and fro: at most three shards
        assert len(shard[piece].unique()) <= 3
    moved = (stream[1:] - stream[:-1]).abs()
    assert (moved[shard[stream[1:]] == shard[stream[:-1]]] <= 200).all()
    assert (moved > 1).float().mean() > 0.9  # shuffled nevertheless
    batch = order[:512].view(64, 8)
    assert len(shard[batch].unique()) >= 8  # a global batch is from everywhere


def test_without_a_window_shards_are_read_as_they_lie() -> None:
    order = shard_order(torch.arange(4).repeat_interleave(80), window=1, seed=0, streams=4)
    steps = order.view(80, 4).diff(dim=0)
    assert (steps == 1).float().mean() > 0.97


# ---- going on in mid-epoch -------------------------------------------------------------------


@pytest.mark.parametrize("order", ["global", "shards"])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [1, 4, 7])
def test_resumed_equals_straight(
    shards: Path, order: str, workers: int, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loader() -> Any:
        one = folder(shards, order=order, workers=workers, window=16).train_dataloader()
        one.set_epoch(3)
        return one

    straight = list(loader())
    half = loader()
    taken = iter(half)
    for _ in range(stop):
        next(taken)
    del taken
    resumed = loader()
    resumed.load_state_dict(half.state_dict())
    read, plain = [], Shelf.read

    def noted(self: Shelf, entry: Any) -> bytes:
        read.append(int(entry["index"]))
        return plain(self, entry)

    monkeypatch.setattr(Shelf, "read", noted)
    assert_equal(list(resumed), straight[stop:])
    expected = [int(i) for batch in straight[stop:] for i in batch["index"]]
    assert workers or read == expected  # what was consumed is not read again


def test_another_order_or_window_is_refused_in_mid_epoch(shards: Path) -> None:
    loader = folder(shards, order="shards", window=16).train_dataloader()
    next(iter(loader))
    state = loader.state_dict()
    for more, message in (
        ({"order": "shards", "window": 8}, "shards, window 16, now it is shards, window 8"),
        ({}, "with sampling shards, window 16, now it is uniform"),
    ):
        with pytest.raises(ValueError, match=message):
            folder(shards, **more).train_dataloader().load_state_dict(state)


# ---- what can be wrong -----------------------------------------------------------------------


def consume(root: Path, **arguments: Any) -> list[Batch]:
    return list(folder(root, val_size=0, **arguments).train_dataloader())


def one_line(error: pytest.ExceptionInfo[Any]) -> None:
    assert len(str(error.value).splitlines()) == 1


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def rename(folder: Path, name: str, other: str) -> None:
    """Let the index call a file otherwise, and the file be there."""
    if not (folder / other).exists():
        shutil.copy(folder / name, folder / other)
    (folder / INDEX).write_text((folder / INDEX).read_text().replace(f'"{name}"', f'"{other}"'))


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (lambda f: (f / "train-000001.tar").unlink(), MissingDataError,
         r"shard .*train-000001\.tar is missing"),
        (lambda f: truncate(f / "train-000002.tar"), BrokenDataError,
         r"shard .*train-000002\.tar has .* bytes, index\.json says .*truncated"),
        (lambda f: truncate(f / "train.npy"), BrokenDataError, r"table .*train\.npy is damaged"),
        (lambda f: (f / "train.npy").unlink(), MissingDataError, r"table .*train\.npy is missing"),
        (lambda f: truncate(f / INDEX), BrokenDataError, r"index\.json is not an index of shards"),
        (lambda f: (f / INDEX).write_text('{"format": "genlab shards 9"}'), BrokenDataError,
         r"index\.json has format 'genlab shards 9'"),
        (lambda f: rename(f, "train.npy", "../train.npy"), BrokenDataError,
         r"index\.json: '\.\./train\.npy' is not the name of a file next to it"),
        (lambda f: rename(f, "train-000001.tar", str(f / "train-000001.tar")), BrokenDataError,
         r"index\.json: '/.*/train-000001\.tar' is not the name of a file next to it"),
    ],
)  # fmt: skip
def test_shards_that_are_not_the_index_s(
    copy: Path, spoil: Any, kind: type[Exception], message: str
) -> None:
    spoil(copy)
    with pytest.raises(kind, match=message) as error:
        folder(copy).prepare_data()
    one_line(error)


@pytest.mark.parametrize("workers", [0, 2])
def test_other_shards_of_the_same_length_are_noticed(copy: Path, workers: int) -> None:
    file = copy / "train-000000.tar"
    size = file.stat().st_size
    file.write_bytes(bytes(size))
    message = r"shard .*train-000000\.tar does not contain image \d{9} at byte .* of other shards"
    with pytest.raises(BrokenDataError, match=message) as error:
        consume(copy, workers=workers)
    one_line(error)
    with pytest.raises(BrokenDataError, match=r"train-000000\.tar is damaged"):
        check(copy)
    file.unlink()
    os.truncate(os.open(file, os.O_CREAT | os.O_RDWR), size // 2)
    data = folder(copy)
    with pytest.raises(BrokenDataError, match=r"train-000000\.tar has"):
        data.setup()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_goes_while_it_is_read(copy: Path, workers: int) -> None:
    loader = folder(copy, val_size=0, workers=workers).train_dataloader()
    for file in copy.glob("train-*.tar"):
        file.unlink()
    with pytest.raises(MissingDataError, match=r"^shard .*train-\d+\.tar is missing$"):
        list(loader)


def test_a_damaged_picture_gives_way_to_the_next(copy: Path) -> None:
    entry = read_index(copy)[1]["train"].entries[5]
    file = copy / f"train-{entry['shard']:06d}.tar"
    content = bytearray(file.read_bytes())
    content[int(entry["offset"]) + 4 : int(entry["offset"] + entry["length"])] = bytes(
        int(entry["length"]) - 4
    )
    file.write_bytes(content)
    with pytest.warns(UserWarning, match=r"1 images so far .*train-\d+\.tar, image 000000005"):
        rows = [int(i) for batch in consume(copy) for i in batch["index"]]
    assert 5 not in rows


def test_wrong_arguments(tree: Path, shards: Path, tmp_path: Path) -> None:
    for more in ({"labels": 3}, {"sampling": "balanced"}, {"in_memory": True}):
        with pytest.raises(ValueError, match="order 'shards' cannot be combined with"):
            folder(shards, order="shards", **more)
    with pytest.raises(ValueError, match="window 0 must be at least 1"):
        folder(shards, order="shards", window=0)
    with pytest.raises(ValueError, match="unknown order 'shard'; choose from global, shards"):
        folder(shards, order="shard")
    with pytest.raises(ValueError, match="order 'shards' requires shards: genlab pack"):
        folder(tree, order="shards").setup()
    with pytest.raises(ValueError, match="unlabeled_root requires a folder of images"):
        folder(shards, unlabeled_root=str(tree)).setup()
    with pytest.raises(MissingDataError, match=r"no index\.json in .*; genlab pack"):
        check(tmp_path)


def test_few_files_are_open_at_a_time(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genlab.data.shards.index.OPEN", 2)
    part = read_index(copy)[1]["train"]
    shelf, before = Shelf(part.shards), len(os.listdir("/proc/self/fd"))
    for entry in part.entries:
        assert len(shelf.read(entry)) == entry["length"]
        assert len(os.listdir("/proc/self/fd")) <= before + 2
    del shelf
    assert len(os.listdir("/proc/self/fd")) == before
    assert OPEN < 512  # of 1,024 that a process usually may have


def test_blocks_are_fetched_once_and_pictures_by_themselves(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, at, size, _: asked.append((at, size)))
    part = read_index(shards)[1]["train"]
    shelf = Shelf(part.shards)
    for _ in range(2):
        shelf.expect(part.entries, block=2**20)
    assert asked == [(0, 2**20)] * len(part.shards)
    asked.clear()
    shelf.expect(part.entries[:3])
    expected = [(int(e["offset"]) - 512, int(e["length"]) + 512) for e in part.entries[:3]]
    assert sorted(asked) == sorted(expected)


# ---- packing ---------------------------------------------------------------------------------


def contents(root: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in root.iterdir()}


def test_the_same_bytes_twice_and_others_by_another_seed(
    tree: Path, shards: Path, tmp_path: Path
) -> None:
    pack(tree, tmp_path / "again", SMALL)
    assert contents(tmp_path / "again") == contents(shards)
    pack(tree, tmp_path / "other", Packing(megabytes=0.02, seed=1))
    assert contents(tmp_path / "other")["train-000000.tar"] != contents(shards)["train-000000.tar"]
    assert_equal(batches(folder(tmp_path / "other")), batches(folder(shards)))


def test_shards_are_drawn_from_all_classes(shards: Path) -> None:
    part = read_index(shards)[1]["train"]
    first = part.entries[part.entries["shard"] == 0]
    assert len(set(first["label"].tolist())) >= 3


def test_a_killed_pack_leaves_nothing_and_the_next_goes_on(
    tree: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"

    def die(done: int, total: int) -> None:
        if done == 20:
            os._exit(9)  # as kill -9 does: nothing is tidied up

    process = multiprocessing.get_context("fork").Process(
        target=pack, args=(tree, target, SMALL), kwargs={"tell": die}
    )
    process.start()
    process.join()
    assert process.exitcode == 9
    assert not target.exists()
    seen, plain = [], packing._Shards._picture

    def noted(self: Any, row: int) -> packing.Picture:
        seen.append(row)
        return plain(self, row)

    monkeypatch.setattr(packing._Shards, "_picture", noted)
    pack(tree, target, SMALL)
    assert contents(target) == contents(shards)
    assert 10 < len(seen) < 43  # what was whole is not packed again
    assert [file.name for file in tmp_path.iterdir()] == ["target"]


def test_shards_of_other_pictures_are_not_gone_on_with(tree: Path, tmp_path: Path) -> None:
    pictures = Path(shutil.copytree(tree, tmp_path / "pictures"))

    def stop(done: int, total: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(pictures, tmp_path / "target", SMALL, tell=stop)
    picture(pictures / "train" / "cat" / "00.png", (50, 50), seed=77)
    pack(pictures, tmp_path / "target", SMALL)
    pack(pictures, tmp_path / "fresh", SMALL)
    assert contents(tmp_path / "target") == contents(tmp_path / "fresh")


def test_broken_pictures_are_named_or_left_out(tmp_path: Path) -> None:
    root, target = classes(tmp_path / "pictures"), tmp_path / "shards"
    break_some(root)
    with pytest.raises(BrokenDataError, match=r"(03|05)\.png: .*; --skip-broken") as error:
        pack(root, target, SMALL)
    one_line(error)
    assert not target.exists()
    content = pack(root, target, SMALL, skip_broken=True)
    assert sorted(line.partition(".png")[0][-6:] for line in content["skipped"]) == [
        "cat/03", "dog/05"]  # fmt: skip
    data = folder(target, val_size=0, test_size=0, batch_size=6)
    assert sorted(data.splits()["train"]) == [k for k in range(20) if k not in (3, 15)]
    assert len(rows_of(data.train_dataloader())) == 18


@pytest.mark.parametrize("mended", [False, True])
def test_kept_shards_that_leave_pictures_out_are_not_taken_without_being_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mended: bool
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    root, target = classes(tmp_path / "pictures", 11), tmp_path / "shards"
    order = np.random.default_rng(SMALL.seed).permutation(22)
    file = sorted(root.rglob("*.png"))[order[1]]  # of the first shard
    plain, unreadable = packing.decode, file.read_bytes()

    def fails(data: Any, form: Any) -> Any:
        if data.getvalue() == unreadable:
            raise OSError("the disk does not answer")
        return plain(data, form)

    monkeypatch.setattr(packing, "decode", fails)
    with pytest.raises(KeyboardInterrupt):
        pack(root, target, TINY, skip_broken=True, tell=stop)
    if mended:
        monkeypatch.setattr(packing, "decode", plain)
        assert pack(root, target, TINY)["skipped"] == []
        pack(root, tmp_path / "fresh", TINY)
        assert contents(target) == contents(tmp_path / "fresh")
        return
    with pytest.raises(BrokenDataError, match=rf"{file.name}: the disk .*; --skip-broken"):
        pack(root, target, TINY)
    assert len(pack(root, target, TINY, skip_broken=True)["skipped"]) == 1


def test_links_to_nothing_are_named_or_left_out(tmp_path: Path) -> None:
    root, target = classes(tmp_path / "pictures"), tmp_path / "shards"
    gone, itself = root / "cat" / "gone.png", root / "dog" / "itself.jpg"
    gone.symlink_to("/nowhere/x.png")
    itself.symlink_to(itself)
    (root / "cat" / "whole.png").symlink_to(root / "dog" / "00.png")
    with pytest.raises(BrokenDataError, match="a link to nothing; --skip-broken") as error:
        pack(root, target, SMALL)
    one_line(error)
    content = pack(root, target, SMALL, skip_broken=True)
    assert content["parts"]["train"]["images"] == 21
    assert sorted(content["skipped"]) == [f"{file}: a link to nothing" for file in (gone, itself)]
    gone.unlink()
    gone.symlink_to(root / "dog" / "01.png")  # it leads somewhere now
    content = pack(root, tmp_path / "again", SMALL, skip_broken=True)
    assert content["parts"]["train"]["images"] == 22


def opened(file: Path | IO[bytes]) -> Image.Image:
    with Image.open(file) as image:
        return image.copy()


def test_larger_pictures_are_scaled_down(tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    picture(root / "large.png", (60, 40), mode="RGBA")
    picture(root / "small.png", (20, 12))
    picture(root / "grey.jpg", (33, 99), mode="L")
    pack(root, tmp_path / "shards", Packing(resize=16, quality=80))
    with tarfile.open(tmp_path / "shards" / "train-000000.tar") as tar:
        read = {name: tar.extractfile(name) for name in tar.getnames()}
        found = {name: opened(file) for name, file in read.items() if file is not None}
    assert {name: (image.size, image.mode) for name, image in found.items()} == {
        "000000000.jpg": ((16, 48), "L"),
        "000000001.jpg": ((24, 16), "RGB"),
        "000000002.png": ((20, 12), "RGB"),
    }
    assert found["000000002.png"] == opened(root / "small.png")


def test_what_pack_refuses(tree: Path, shards: Path, tmp_path: Path) -> None:
    before = contents(shards)
    with pytest.raises(ValueError, match="exists and is not empty"):
        pack(tree, shards, SMALL)
    assert contents(shards) == before
    with pytest.raises(ValueError, match="unknown split 'val'; choose from train, test"):
        pack(tree, tmp_path / "x", SMALL, splits=["val"])
    with pytest.raises(MissingDataError, match="no folder"):
        pack(tree / "nowhere", tmp_path / "x", SMALL)
    values: list[tuple[dict[str, Any], str]] = [
        ({"megabytes": 0}, "size 0 must be more"),
        ({"resize": 0}, "resize 0 must be at least 1"),
        ({"quality": 100}, "quality 100 must be 1 to 95"),
    ]
    for wrong, message in values:
        with pytest.raises(ValueError, match=message):
            Packing(**wrong)
    assert list(tmp_path.iterdir()) == []


def test_chosen_splits_only(tree: Path, tmp_path: Path) -> None:
    pack(tree, tmp_path / "s", SMALL, splits=["train"])
    assert list(json.loads((tmp_path / "s" / INDEX).read_text())["parts"]) == ["train"]


# ---- memory ----------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_pictures_read(shards: Path) -> None:
    loader = folder(shards, order="shards", val_size=0).train_dataloader()
    assert isinstance(loader, ShardLoader)

    def peak(epochs: int) -> int:
        tracemalloc.start()
        for epoch in range(epochs):
            loader.set_epoch(epoch)
            rows_of(loader)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(2)  # imports
    assert peak(12) < 1.1 * peak(2) + 20_000
