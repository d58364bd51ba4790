"""Balanced epochs: equal chances for classes, fixed by the seed, shared by ranks, resumable."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.data import Digits
from genlab.data.in_memory import Pictures
from genlab.data.loader import TrainLoader
from genlab.data.sampling import epoch_order, evenly
from tests.conftest import TwoRanks
from tests.data.test_loader import seen

LABELS = torch.tensor([0] * 900 + [2] * 90 + [7] * 10 + [-1] * 200)


def loader(labels: Tensor = LABELS, **options: Any) -> TrainLoader:
    source = Pictures(torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8), labels)
    return TrainLoader(source, torch.arange(len(labels)), 100, **({"seed": 1} | options))


def drawn(labels: Tensor, epochs: int = 10) -> Tensor:
    return torch.cat([epoch_order("balanced", labels, seed) for seed in range(epochs)])


def test_classes_have_equal_chances_and_unlabelled_images_none() -> None:
    counts = LABELS[drawn(LABELS)].bincount(minlength=8)
    assert counts.sum() == 12_000
    assert counts[[0, 2, 7]].sum() == 12_000
    assert (counts[[0, 2, 7]] - 4000).abs().max() < 5 * (12_000 * 2 / 9) ** 0.5


def test_images_of_a_class_have_equal_chances() -> None:
    shuffled = LABELS[torch.randperm(len(LABELS))]
    counts = drawn(shuffled).bincount(minlength=len(LABELS)).double()
    assert (counts[shuffled == 7] > 300).all()
    assert (counts[shuffled == 7] < 500).all()
    ordinary = counts[shuffled == 0]  # 4.4 each
    assert ordinary.var().item() == pytest.approx(ordinary.mean().item(), rel=0.2)  # as Poisson
    assert counts[shuffled == -1].sum() == 0


def test_uniform_sampling_keeps_the_proportions_balanced_does_not() -> None:
    for sampling, most in (("uniform", 900), ("balanced", 500)):
        rows = torch.cat([batch["label"] for batch in loader(sampling=sampling)])
        assert len(rows) == 1200
        assert ((rows == 0).sum() == 900) == (sampling == "uniform")
        assert (rows == 0).sum() <= most


def test_epochs_differ_and_the_seed_decides() -> None:
    one, same, other = (loader(sampling="balanced", seed=s) for s in (1, 1, 2))
    assert seen(one) == seen(same) != seen(other)
    one.set_epoch(1)
    assert seen(one) != seen(same)


@pytest.mark.parametrize("stop", [1, 5, 11])
def test_a_balanced_epoch_goes_on_where_it_stopped(stop: int) -> None:
    stopped, again = loader(sampling="balanced"), loader(sampling="balanced")
    for _ in zip(range(stop), stopped, strict=False):
        pass
    again.load_state_dict(stopped.state_dict())
    assert seen(again) == seen(loader(sampling="balanced"))[stop:]


def test_another_sampling_is_refused_in_mid_epoch_and_old_checkpoints_are_uniform() -> None:
    state = loader().state_dict() | {"position": 3}
    with pytest.raises(ValueError, match="sampling uniform, now it is balanced"):
        loader(sampling="balanced").load_state_dict(state)
    del state["sampling"]
    loader().load_state_dict(state)
    with pytest.raises(ValueError, match="sampling uniform, now it is balanced"):
        loader(sampling="balanced").load_state_dict(state)


def test_impossible_sampling_is_refused() -> None:
    with pytest.raises(ValueError, match="'even'; choose from uniform, balanced"):
        Digits(sampling="even")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no training image has one"):
        loader(torch.full((200,), -1), sampling="balanced")


@pytest.mark.ddp
def test_two_ranks_share_the_draw_of_one_process(two_ranks: TwoRanks) -> None:
    one, ranks = two_ranks.results("tests.data.programs:balanced_batches")
    assert len(one) == len(ranks[0]) == 648 // 128
    for rank, batches in enumerate(ranks):
        for whole, mine in zip(one, batches, strict=True):
            assert torch.equal(whole["index"][rank::2], mine["index"])
            assert torch.equal(whole["image"][rank::2], mine["image"])
    drawn = torch.cat([batch["index"] for batch in one])
    assert len(drawn.unique()) < len(drawn)


def test_few_rows_are_spread_evenly_over_those_with_labels() -> None:
    rows, labels = torch.arange(100, 200), torch.arange(10).repeat_interleave(10)
    found = evenly(rows, labels, 30)
    assert labels[found - 100].bincount().tolist() == [3] * 10
    assert len(found.unique()) == 30
    assert torch.equal(evenly(rows, labels, 1000), rows)
    some = labels.where(labels > 7, -1)
    assert evenly(rows, some, 20).tolist() == list(range(180, 200))
    assert evenly(rows, torch.full((100,), -1), 2).tolist() == [100, 150]
