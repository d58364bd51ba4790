"""Two streams of exactly as many batches as asked for; views drawn apart; resumed exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab import optim
from genlab.data import CIFAR10, SVHN, Digits
from genlab.data.labels.semi_supervised import FewLabels
from genlab.data.labels.two_streams import Plan, stream
from tests.conftest import TwoRanks
from tests.data.labels.programs_semi import loader_of
from tests.data.test_exact_resume import Save


def indices(data: Any, part: str, epoch: int = 0) -> list[list[int]]:
    loader = data.train_dataloader()
    loader.set_epoch(epoch)
    return [batch[part]["index"].tolist() for batch in loader]


def test_few_labels_and_a_large_batch_give_the_steps_that_were_asked_for() -> None:
    """40 labels, batch 64: a loader that drops the last batch would have none."""
    data = loader_of()
    labeled, unlabeled = indices(data, "labeled"), indices(data, "unlabeled")
    assert [len(batch) for batch in labeled] == [64] * 5
    assert [len(batch) for batch in unlabeled] == [448] * 5
    assert all(len(set(batch)) == 40 for batch in labeled)  # every labelled image, in each
    assert all(len(set(batch)) == 448 for batch in unlabeled)  # none twice
    record = data.label_record
    assert set(labeled[0]) == set(record["indices"])


def test_the_unlabelled_set_holds_the_labelled_one_unless_excluded() -> None:
    for exclude in (False, True):
        data = loader_of(unlabeled_ratio=1, steps_per_epoch=60, exclude_labeled=exclude)
        seen = {i for batch in indices(data, "unlabeled") for i in batch}
        mine = set(data.label_record["indices"])
        assert len(seen) == 1297 - 40 * exclude
        assert len(seen & mine) == 40 * (not exclude)
        assert not seen & set(data.splits()["val"].tolist())


def test_the_order_depends_on_the_seed_and_the_epoch() -> None:
    orders = [
        indices(loader_of(seed=seed), "unlabeled", epoch)
        for seed, epoch in ((0, 0), (1, 0), (0, 1))
    ]
    assert indices(loader_of(seed=0), "unlabeled") == orders[0]
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]
    assert indices(loader_of(seed=0), "labeled") != indices(loader_of(seed=1), "labeled")


def test_a_stream_goes_through_the_whole_set_again_and_again() -> None:
    rows = torch.arange(100, 107)
    whole = stream(rows, 0, 21, seed=3, which=0)
    for turn in whole.split(7):
        assert sorted(turn.tolist()) == rows.tolist()
    assert whole[:7].tolist() != whole[7:14].tolist()
    pieces = [stream(rows, first, 5, seed=3, which=0) for first in (0, 5, 10, 15)]
    assert torch.equal(torch.cat(pieces), whole[:20])
    assert stream(rows, 0, 21, seed=3, which=1).tolist() != whole.tolist()


def test_accumulated_batches_are_the_parts_of_a_step() -> None:
    data = loader_of()
    data.trainer = L.Trainer(
        accelerator="cpu",
        accumulate_grad_batches=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = data.train_dataloader()
    assert len(loader) == 10  # 5 optimiser steps
    assert [len(batch["labeled"]["index"]) for batch in loader] == [32] * 10


@pytest.mark.ddp
def test_two_ranks_share_the_batch_of_one_process(two_ranks: TwoRanks) -> None:
    """Images, views and order; no unlabelled image on both ranks."""
    one, two = two_ranks.results("tests.data.labels.programs_semi:batches")
    assert len(one) == len(two[0]) == len(two[1]) == 5
    for batch, *halves in zip(one, *two, strict=True):
        for rank, half in enumerate(halves):
            for part in ("labeled", "unlabeled"):
                assert torch.equal(half[part]["index"], batch[part]["index"][rank::2])
            assert torch.equal(half["labeled"]["image"], batch["labeled"]["image"][rank::2])
            for k in range(2):
                view, whole = half["unlabeled"]["views"][k], batch["unlabeled"]["views"][k]
                torch.testing.assert_close(view, whole[rank::2])
        ours, theirs = (set(half["unlabeled"]["index"].tolist()) for half in halves)
        assert len(ours) == len(theirs) == 224
        assert not ours & theirs


def test_both_views_show_the_same_image_drawn_apart() -> None:
    data = loader_of(strong=None, augment={"translate": 2})
    batch = data.to_device(next(iter(data.train_dataloader())))
    first, second = batch["unlabeled"]["views"]
    source = data._parts["train"][0]
    place = {int(i): k for k, i in enumerate(source.index)}
    clean = source.images[[place[int(i)] for i in batch["unlabeled"]["index"]]].float() / 255
    moved = F.pad(clean, (2,) * 4, mode="reflect")
    shifts = []
    for view in (first, second):
        windows = torch.stack(
            [moved[:, :, y : y + 8, x : x + 8] for y in range(5) for x in range(5)], 1
        )
        errors = (windows - view[:, None]).abs().amax((2, 3, 4))  # (N, 25)
        assert (errors.amin(1) < 1e-6).all()  # a shift of the image that index names
        shifts.append(errors.argmin(1))
    assert (shifts[0] == shifts[1]).float().mean() < 0.15  # chance: 1 in 25
    strong = loader_of(augment={"translate": 2})
    batch = strong.to_device(next(iter(strong.train_dataloader())))
    assert torch.equal(batch["unlabeled"]["views"][0], first)
    assert (batch["unlabeled"]["views"][1] != second).flatten(1).any(1).float().mean() > 0.95


def test_without_unlabelled_images_batches_are_plain() -> None:
    data = loader_of(unlabeled_ratio=0)
    batch = data.to_device(next(iter(data.train_dataloader())))
    assert batch["image"].shape == (64, 1, 8, 8)
    assert {"image", "label", "index", "seed"} == set(batch)
    both = loader_of()
    other = both.to_device(next(iter(both.train_dataloader())))["labeled"]
    assert torch.equal(other["index"], batch["index"])  # the twin sees the same images ...
    assert torch.equal(other["image"], batch["image"])  # ... in the same views


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="7 x batch_size 256 = 1792 exceeds the 1297 unlabelled"):
        loader_of(batch_size=256).train_dataloader()
    with pytest.raises(ValueError, match="unlabeled_ratio -1"):
        loader_of(unlabeled_ratio=-1)
    with pytest.raises(ValueError, match="steps_per_epoch 0"):
        loader_of(steps_per_epoch=0)
    with pytest.raises(
        ValueError, match="labels cannot be combined with views, binarize or sampling"
    ):
        loader_of(views="simclr", augment=None)


def test_one_plan_serves_all_image_data(data_root: Path) -> None:
    for kind in (CIFAR10, SVHN):
        data = kind(root=str(data_root), labels=40)
        assert isinstance(data.few, FewLabels)
        assert data.few.plan == Plan(0, 1024, False)
    assert Digits().few is None


class Tiny(L.LightningModule):
    """Softmax regression on all of a batch, that remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.shown: list[tuple[list[int], list[int]]] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        labeled, unlabeled = batch["labeled"], batch["unlabeled"]
        self.shown.append((labeled["index"].tolist(), unlabeled["index"].tolist()))
        weak, strong = (self.layer(view.flatten(1)) for view in unlabeled["views"])
        loss = F.cross_entropy(self.layer(labeled["image"].flatten(1)), labeled["label"])
        return loss + F.mse_loss(strong, weak.detach())

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optim.build(self, {"name": "sgd", "lr": 0.1, "schedule": "cosine_7_16"})


def fit(folder: Path | None = None, resume: Path | None = None, **options: Any) -> Tiny:
    torch.manual_seed(1)
    method, accumulate = Tiny(), options.pop("accumulate", 1)
    trainer = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        accumulate_grad_batches=accumulate,
        callbacks=[Save(folder)] if folder else [],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = loader_of(**{"batch_size": 8, "steps_per_epoch": 6} | options)
    trainer.fit(method, datamodule=data, ckpt_path=resume, weights_only=True if resume else None)
    assert trainer.global_step == 18
    return method


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_run_is_the_straight_run(tmp_path: Path, accumulate: int) -> None:
    straight = fit(tmp_path, accumulate=accumulate)
    points = [f"batch{accumulate * k}" for k in (1, 5, 6, 7, 11, 12, 17)] + ["epoch0", "val1"]
    for point in points:
        resumed = fit(resume=tmp_path / f"{point}.ckpt", accumulate=accumulate)
        left = len(straight.shown) - len(resumed.shown)
        assert left
        assert resumed.shown == straight.shown[left:], point
        assert torch.equal(resumed.layer.weight, straight.layer.weight), point


def test_a_run_does_not_go_on_with_other_labels_or_another_ratio(tmp_path: Path) -> None:
    fit(tmp_path)
    for point in ("batch4", "batch6"):  # in mid-epoch and at its end
        with pytest.raises(ValueError, match="trained with other labels"):
            fit(resume=tmp_path / f"{point}.ckpt", labels_seed=1)
    with pytest.raises(ValueError, match="unlabeled ratio 7, now it is 5"):
        fit(resume=tmp_path / "batch4.ckpt", unlabeled_ratio=5)
