"""The order of batches: DistributedSampler's, resumable; evaluation without padding."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import chain
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from genlab.data.in_memory import Pictures
from genlab.data.loader import EvalLoader, TrainLoader, batch_seed


def pictures(n: int, channels: int = 1, size: int = 2) -> Pictures:
    return Pictures(torch.randint(256, (n, channels, size, size), dtype=torch.uint8))


def loader(n: int = 20, batch_size: int = 4, **kwargs: Any) -> TrainLoader:
    return TrainLoader(pictures(n), torch.arange(n), batch_size, **kwargs)


def flat(lists: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(lists))


def seen(batches: TrainLoader | EvalLoader) -> list[list[int]]:
    return [batch["index"].tolist() for batch in batches]


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("epoch", [0, 3])
def test_the_order_is_that_of_the_distributed_sampler(world: int, epoch: int) -> None:
    for rank in range(world):
        sampler = DistributedSampler(range(24), world, rank, shuffle=True, seed=7)  # type: ignore[arg-type, var-annotated]
        sampler.set_epoch(epoch)
        mine = loader(24, 8, seed=7, rank=rank, world=world)
        mine.set_epoch(epoch)
        assert flat(seen(mine)) == list(sampler)


def test_a_global_batch_is_the_same_set_for_every_number_of_processes() -> None:
    one = seen(loader(27, 8, seed=1))
    ranks = [seen(loader(27, 8, seed=1, rank=rank, world=4)) for rank in range(4)]
    assert len(one) == 3
    for k, batch in enumerate(one):
        assert sorted(batch) == sorted(flat(rank[k] for rank in ranks))


def test_rows_name_the_images_and_the_index_their_position_in_the_source() -> None:
    source = Pictures(torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1), torch.arange(40) % 10)
    for batch in TrainLoader(source, torch.arange(5, 25), 4, seed=0):
        assert torch.equal(batch["image"].flatten().long(), batch["index"])
        assert torch.equal(batch["label"], batch["index"] % 10)
        assert ((batch["index"] >= 5) & (batch["index"] < 25)).all()


def test_a_batch_is_its_readers_own() -> None:
    source = Pictures(torch.zeros(6, 1, 1, 1, dtype=torch.uint8))
    loader = EvalLoader(source, torch.arange(6), 3)
    for _ in range(2):
        assert [batch["index"].sub_(9).tolist() for batch in loader] == [[-9, -8, -7], [-6, -5, -4]]


def test_the_seed_is_seed_everythings_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "11")
    assert seen(loader()) == seen(loader(seed=11)) != seen(loader(seed=12))
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert seen(loader()) == seen(loader(seed=0))


@pytest.mark.parametrize("stop", range(1, 6))
def test_a_loaded_state_continues_within_its_epoch_only(stop: int) -> None:
    straight, stopped = loader(seed=3), loader(seed=3)
    for each in (straight, stopped):
        each.set_epoch(4)
    whole = seen(straight)
    for _ in zip(range(stop), stopped, strict=False):
        pass
    state = stopped.state_dict()
    same, later = loader(seed=3), loader(seed=3)
    for each, epoch in ((same, 4), (later, 5)):
        each.load_state_dict(state)
        assert each.state_dict() == state  # a checkpoint written before the first batch
        each.set_epoch(epoch)
    straight.set_epoch(5)
    if stop < 5:
        assert seen(same) == whole[stop:]
    assert seen(later) == seen(straight)


def test_the_iterator_is_lazy_and_its_position_survives_the_last_batch() -> None:
    batches = loader(seed=3)
    early = iter(batches)  # before the epoch is known, as Lightning does
    batches.set_epoch(2)
    first = next(early)["index"].tolist()
    assert first == loader_at(2)[0]
    assert batches.state_dict()["position"] == 1
    for _ in early:
        pass
    assert (batches.state_dict()["epoch"], batches.state_dict()["position"]) == (2, 5)
    batches.set_epoch(3)
    assert seen(batches) == loader_at(3)


def loader_at(epoch: int) -> list[list[int]]:
    fresh = loader(seed=3)
    fresh.set_epoch(epoch)
    return seen(fresh)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"world": 2}, "world 1, now it is 2"),
        ({"batch_size": 5}, "batch size 4, now it is 5"),
        ({"n": 24}, "size 20, now it is 24"),
        ({"seed": 9}, "seed 0, now it is 9"),
    ],
)
def test_another_shape_is_refused_in_mid_epoch_and_allowed_at_its_end(
    change: dict[str, int], reason: str
) -> None:
    state = loader(seed=0).state_dict()
    other = loader(**({"seed": 0} | change))
    other.load_state_dict(state | {"position": 5})
    other.load_state_dict(state | {"position": 0})
    with pytest.raises(ValueError, match=reason):
        other.load_state_dict(state | {"position": 2})


@pytest.mark.parametrize(("n", "batch_size", "world"), [(3, 4, 1), (8, 0, 1), (8, 3, 2)])
def test_impossible_batches_are_refused(n: int, batch_size: int, world: int) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        loader(n, batch_size, world=world)


def test_batch_seeds_differ_are_the_same_on_all_ranks_and_cheap() -> None:
    seeds = {batch_seed(s, e, b) for s in range(5) for e in range(20) for b in range(50)}
    assert len(seeds) == 5 * 20 * 50
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert batch_seed(0, 1, 0) != batch_seed(1, 0, 0)
    ranks = [[b["seed"] for b in loader(seed=3, rank=r, world=2)] for r in range(2)]
    assert ranks[0] == ranks[1] == [batch_seed(3, 0, k) for k in range(5)]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 64, 101])
@pytest.mark.parametrize("batch_size", [1, 3, 8, 200])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_sees_every_image_once_in_equally_many_batches(
    n: int, batch_size: int, world: int
) -> None:
    source, rows = pictures(n), torch.arange(n)
    if n < world:
        with pytest.raises(ValueError, match="cannot be divided among"):
            EvalLoader(source, rows, batch_size, world=world)
        return
    ranks = [EvalLoader(source, rows, batch_size, rank=r, world=world) for r in range(world)]
    assert len({len(each) for each in ranks}) == 1
    batches = [batch for each in ranks for batch in seen(each)]
    assert all(batches)
    assert sorted(flat(batches)) == list(range(n))
    if world == 1:
        assert flat(batches) == list(range(n))
        assert max(map(len, batches)) <= batch_size


@pytest.mark.benchmarks
def test_thirty_times_the_default_collate() -> None:
    source = pictures(60_000, 1, 28)
    items = TensorDataset(source.images, source.labels)

    def rate(batches: Any, limit: int) -> float:
        start, images = time.process_time(), 0
        for _, batch in zip(range(limit), batches, strict=False):
            image = batch["image"] if isinstance(batch, dict) else batch[0]
            images += len(image.float().div_(255))
        return images / (time.process_time() - start)

    slow = rate(DataLoader(items, batch_size=256, shuffle=True), 50)
    fast = rate(TrainLoader(source, torch.arange(60_000), 256), 200)
    print(f"\nin memory {fast:,.0f} images/s, default collate {slow:,.0f}: {fast / slow:.0f}x")
    assert fast > 20 * slow
