"""MoCo: what is key, what is negative, and when the queue moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab import losses
from genlab.data import Digits
from genlab.methods.moco import MoCo
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer
from tests.conftest import TwoRanks
from tests.methods.programs_ssl import CNN, VIT, pairs, small


def test_the_loss_is_cross_entropy_against_the_queue_as_it_was() -> None:
    method, (view1, view2) = small("moco", VIT), pairs(8)[0]["views"]
    before = method.queue.keys.clone()
    out = method.training_step({"views": [view1, view2]}, 0)
    q, k = F.normalize(method.embed(view1)), method.key(view2)
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ before.T], 1) / 0.2
    expected = F.cross_entropy(logits, torch.zeros(8, dtype=torch.long))
    torch.testing.assert_close(out["loss"], expected)
    assert torch.equal(method.queue.keys, before)  # nothing enters before the step
    out["loss"].backward()
    method.after_step()
    assert int(method.queue.pointer) == 8
    torch.testing.assert_close(method.queue.keys[:8], k)
    assert torch.equal(method.queue.keys[8:], before[8:])


def test_keys_are_made_after_the_momentum_encoder_moved() -> None:
    """The order of the paper: after k steps the keys are those of the k-th average."""
    method = small("moco", VIT)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], 0.5)
    method.training_step(pairs()[0], 0)["loss"].backward()
    optimizer.step()
    start = [p.clone() for p in method.projector_ema.parameters()]
    method.after_step()
    for old, new, online in zip(
        start, method.projector_ema.parameters(), method.projector.parameters(), strict=True
    ):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * online)
    assert not torch.equal(start[0], next(method.projector_ema.parameters()))


def both_halves(method: MoCo, views: list[Tensor], between: bool) -> Tensor:
    """The symmetric loss, the queue moved between its halves or not."""
    view1, view2 = views
    k1, k2 = method.key(view1), method.key(view2)
    first = losses.info_nce(method.embed(view1), k2, method.queue.keys.clone(), 0.1)
    if between:
        method.queue.enqueue(k2)
    return first + losses.info_nce(method.embed(view2), k1, method.queue.keys.clone(), 0.1)


def test_the_symmetric_form_moves_the_queue_after_both_halves() -> None:
    options: dict[str, Any] = {"temperature": 0.1, "queue_size": 16}
    method, batch = small("moco_symmetric", VIT, **options), pairs(8)[0]
    loss = method.training_step(batch, 0)["loss"]
    expected = both_halves(small("moco_symmetric", VIT, **options), batch["views"], False)
    wrong = both_halves(small("moco_symmetric", VIT, **options), batch["views"], True)
    torch.testing.assert_close(loss, expected)
    assert float((wrong - expected).detach()) > 0.1  # its own images' keys as negatives
    method.after_step()
    keys = torch.cat([method.key(view) for view in batch["views"]])
    assert int(method.queue.pointer) == 0  # 16 keys into 16 places
    torch.testing.assert_close(method.queue.keys, keys, atol=1e-5, rtol=0)


def test_the_key_network_has_batch_norm_statistics_of_its_own() -> None:
    method = small("moco")
    method.training_step(pairs(8)[0], 0)["loss"].backward()
    key, query = (dict(m.named_buffers()) for m in (method.encoder_ema, method.encoder))
    name = "backbone.1.running_mean"
    assert method.encoder_ema.training
    assert int(key["backbone.1.num_batches_tracked"]) == 1
    assert not torch.equal(key[name], query[name])
    method.after_step()
    assert not torch.equal(key[name], query[name])  # the average is of parameters only


def test_shuffling_alone_does_nothing_and_with_splits_it_does() -> None:
    """On one device with one group every division of the batch has the same statistics."""

    def keys(order: Tensor, **options: Any) -> Tensor:
        method = small("moco", **options)
        k = method.projector_ema(method.encoder_ema(image[order]))
        return F.normalize(k[order.argsort()])

    image = pairs(8)[0]["views"][0]
    plain, mixed = torch.arange(8), torch.tensor([3, 1, 7, 0, 2, 5, 4, 6])
    torch.testing.assert_close(keys(mixed), keys(plain))
    assert not torch.allclose(keys(mixed, bn_splits=2), keys(plain, bn_splits=2), atol=1e-3)


def test_keys_are_encoded_in_another_order_and_come_back() -> None:
    method, (image, _) = small("moco", bn_splits=2), pairs(8)[0]["views"]
    seen: list[Tensor] = []
    method.encoder_ema.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    method.encoder_ema.eval()  # then the order cannot matter, and the keys must be in place
    found = method.key(image)
    assert not torch.equal(seen[0], image)
    assert sorted(seen[0].sum((1, 2, 3)).tolist()) == sorted(image.sum((1, 2, 3)).tolist())
    method.shuffle_bn = False
    torch.testing.assert_close(found, method.key(image))


def test_all_accumulated_keys_enter_at_the_step(tmp_path: Path) -> None:
    method = small("moco", queue_size=64)
    pointers: list[int] = []
    real = method.training_step

    def step(batch: dict[str, Any], batch_idx: int) -> Any:
        pointers.append(int(method.queue.pointer))
        return real(batch, batch_idx)

    method.training_step = step
    data = Digits(batch_size=32, limit=64, val_size=100, views="simclr")
    run = trainer(tmp_path, Reseed(), accumulate_grad_batches=4, max_epochs=1, limit_val_batches=0)
    run.fit(method, datamodule=data)
    assert pointers == [0] * 4 + [32] * 4
    assert int(method.queue.pointer) == 0


def test_a_queue_that_the_batch_does_not_fit_is_refused_before_training(tmp_path: Path) -> None:
    data = Digits(batch_size=40, limit=80, val_size=100, views="simclr")
    with pytest.raises(ValueError, match="queue_size 64 is less than the 80 keys of a step"):
        trainer(tmp_path).fit(small("moco_symmetric"), datamodule=data)


def test_groups_that_the_batch_does_not_fit_are_refused_before_training(tmp_path: Path) -> None:
    """Of what a process sees at a time: batch_size is global and over accumulated batches."""
    data = Digits(batch_size=48, limit=96, val_size=100, views="simclr")
    for splits, parts, said in (
        (5, 1, "bn_splits 5 does not divide the 48 images"),
        (5, 4, "bn_splits 5 does not divide the 12 images"),
        (12, 4, "bn_splits 12 leaves groups of one image"),
    ):
        run = trainer(tmp_path, accumulate_grad_batches=parts)
        with pytest.raises(ValueError, match=said):
            run.fit(small("moco", bn_splits=splits), datamodule=data)


def test_groups_and_synchronised_batch_norm_exclude_each_other(tmp_path: Path) -> None:
    """The conversion replaces the groups' batch norms without a word."""
    method = small("moco", bn_splits=2)
    method.encoder = nn.SyncBatchNorm.convert_sync_batchnorm(method.encoder)
    data = Digits(batch_size=32, limit=64, val_size=100, views="simclr")
    with pytest.raises(
        ValueError, match=r"bn_splits cannot be combined with trainer\.sync_batchnorm"
    ):
        trainer(tmp_path).fit(method, datamodule=data)


@pytest.mark.ddp
def test_two_ranks_norm_as_two_groups_of_one_process(two_ranks: TwoRanks) -> None:
    """Losses, gradients, weights, momentum copies, queue and statistics after three steps."""
    two_ranks.assert_same("tests.methods.programs_ssl:grouped", atol=1e-9)


def test_ranks_start_from_one_queue_and_ddp_does_not_send_it(two_ranks: TwoRanks) -> None:
    one, two = two_ranks.results("tests.methods.programs_ssl:queue_of_ranks")
    for rank, queue in enumerate(two):
        assert int(queue["pointer"]) == int(one["pointer"]) == 32
        assert queue["keys"][40].tolist() == 6 * [rank]  # its own: it was not sent
        for rows in (slice(0, 40), slice(41, 50)):
            assert torch.equal(queue["keys"][rows], two[0]["keys"][rows])


def test_version_one_is_a_linear_projector_at_another_temperature() -> None:
    method = MoCo(**CNN, projector_dims=[6], temperature=0.07)
    assert [type(m) for m in method.projector] == [nn.Linear]
    assert [type(m) for m in MoCo(**CNN).projector] == [nn.Linear, nn.ReLU, nn.Linear]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ema_decay": 1.0}, r"ema_decay must be in \[0, 1\)"),
        ({"queue_size": 0}, "queue_size 0 must be at least 1"),
        ({"bn_splits": 0}, "bn_splits must be at least 1"),
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small("moco", **wrong)
