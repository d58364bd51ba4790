"""DeepCluster: whose labels, when clusters are found, what a resumed run does not find anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from genlab import losses
from genlab.callbacks import CollapseAlarm
from genlab.data import Digits
from genlab.methods.deepcluster import DeepCluster
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer
from tests.methods.programs_ssl import CNN, VIT, pairs, same_state

VIEWS: dict[str, Any] = {
    "preset": "simclr", "flip": False, "crop": [0.4, 1.0], "jitter": [0.4, 0.4, 0, 0], "grey": 0,
    "blur": 0,
}  # fmt: skip


def small(network: dict[str, Any] = CNN, **options: Any) -> Any:
    """A method with few weights, always the same ones."""
    torch.manual_seed(1)
    heads = {"projector_dims": [12, 6], "prototypes": [5, 4, 3]}
    return DeepCluster(**network | heads | options)


def fitted(folder: Path, start: Path | None = None, **options: Any) -> Any:
    """Three epochs of two steps of two batches, a checkpoint a step."""
    method = small(optimizer={"name": "adamw", "lr": 1e-2}, **options)
    clusterings: list[int] = []
    update = method.clusters.update

    def counted(rows: list[Any], epoch: int, iterations: int) -> None:
        clusterings.append(epoch)
        update(rows, epoch, iterations)

    method.clusters.update = counted
    data = Digits(batch_size=32, limit=64, val_size=100, seed=3, views=VIEWS)
    keep = Checkpoints(None, keep_every_n_steps=1)
    run = trainer(
        folder, Reseed(), keep, max_epochs=3, limit_val_batches=0, accumulate_grad_batches=2
    )
    run.fit(method, datamodule=data, ckpt_path=start, weights_only=True if start else None)
    method.found = clusterings
    return method


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("deepcluster")
    return folder, fitted(folder)


def test_clusters_are_found_once_an_epoch_and_every_image_has_one(straight: Any) -> None:
    _, method = straight
    assert method.found == [0, 1, 2]
    assert method.clusters.labels.shape == (3, 64)
    assert int(method.clusters.labels.min()) >= 0


def test_resumed_in_mid_epoch_it_keeps_the_clusters_to_the_bit(
    straight: Any, tmp_path: Path
) -> None:
    folder, method = straight
    for step, clusterings in ((3, [2]), (4, [2])):  # in the second epoch, and at its end
        saved = folder / f"checkpoints/step-{step:08}.ckpt"
        resumed = fitted(tmp_path / str(step), saved)
        assert resumed.found == clusterings
        assert same_state(method.state_dict(), resumed.state_dict()) == []


def ready(**options: Any) -> Any:
    """A method whose 20 images, at places 30 to 49, are clustered."""
    method = small(VIT, projector_norm=None, **options)
    for bank in method.banks:
        bank.fit_to(torch.arange(30, 50).numpy())
    method.clusters.fit_to(20)
    method.clusters.update([bank.rows for bank in method.banks], 0, 5)
    return method


def test_labels_are_found_by_the_place_of_an_image_whatever_the_order() -> None:
    """DC4."""
    method, index = ready(), torch.tensor([31, 49, 30, 35, 40, 41, 42, 33])
    batch = pairs(8)[0] | {"index": index}
    found = method.training_step(batch, 0)["loss"]
    z = torch.cat([method.embed(view) for view in batch["views"]])
    labels = method.clusters.labels[:, index - 30].repeat(1, 2)
    expected = losses.cluster_nll(z, method.clusters.centroids, labels, 0.1)
    torch.testing.assert_close(found, expected)
    order = torch.randperm(8)
    turned = {"views": [view[order] for view in batch["views"]], "index": index[order]}
    torch.testing.assert_close(method.training_step(turned, 0)["loss"], found)


def test_banks_move_at_the_step_and_labels_do_not() -> None:
    method, index = ready(), torch.arange(30, 38)
    batch = pairs(8)[0] | {"index": index}
    before = [bank.rows.clone() for bank in method.banks]
    labels = method.clusters.labels.clone()
    method.training_step(batch, 0)["loss"].backward()
    assert all(torch.equal(a, b.rows) for a, b in zip(before, method.banks, strict=True))
    method.after_step()
    for bank, view in zip(method.banks, batch["views"], strict=True):
        torch.testing.assert_close(bank.rows[:8], F.normalize(method.embed(view), dim=1))
    assert torch.equal(method.clusters.labels, labels)
    assert all(p.grad is None for n, p in method.named_parameters() if "clusters" in n)
    method.training_step(batch, 0)
    method.on_step_skipped()
    assert not method.pending


def test_the_next_step_is_of_the_new_clusters_and_the_optimiser_holds_no_old_layer() -> None:
    """DC5: centroids are constants that change in place; there is no layer to make anew."""
    method, index = ready(optimizer={"name": "torch.sgd", "lr": 0.1}), torch.arange(30, 38)
    batch, optimizer = pairs(8)[0] | {"index": index}, method.configure_optimizers()
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in method.parameters()}
    assert not any("clusters" in name for name, _ in method.named_parameters())
    before = [one.clone() for one in method.clusters.centroids]
    old = method.training_step(batch, 0)["loss"].detach()
    method.clusters.update([bank.rows.flip(0) for bank in method.banks], 1, 5)
    for one, other in zip(before, method.clusters.centroids, strict=True):
        assert not torch.equal(one, other)
    found = method.training_step(batch, 0)["loss"]
    z = torch.cat([method.embed(view) for view in batch["views"]])
    labels = method.clusters.labels[:, index - 30].repeat(1, 2)
    expected = losses.cluster_nll(z, method.clusters.centroids, labels, 0.1)
    torch.testing.assert_close(found, expected)
    assert float((found.detach() - old).abs()) > 1e-3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"prototypes": []}, r"prototypes \[\] must be numbers of at least 2"),
        ({"prototypes": [5, 1]}, r"prototypes \[5, 1\] must be"),
        ({"kmeans_iterations": 0}, "kmeans_iterations 0 must be at least 1"),
        ({"temperature": 0}, "temperature 0 must be above 0"),
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small(**wrong)


def test_other_numbers_of_large_views_are_refused() -> None:
    view = torch.rand(8, 1, 8, 8)
    with pytest.raises(ValueError, match="requires 2 large views, got 3"):
        ready().training_step({"views": [view] * 3, "index": torch.arange(30, 38)}, 0)


@pytest.mark.slow
def test_two_clusters_collapse_and_the_alarm_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for prototypes, rings in (([30, 30, 30], False), ([2], True)):
        method = small(
            CNN | {"encoder_kwargs": {"width": 16}}, projector_dims=[64, 32], prototypes=prototypes,
            optimizer={"lr": 2e-3},
        )  # fmt: skip
        data = Digits(batch_size=64, val_size=300, seed=0, views=VIEWS)
        alarm = CollapseAlarm()
        run = trainer(tmp_path / str(prototypes[0]), Reseed(), alarm, max_epochs=15)
        run.fit(method, datamodule=data)
        assert ("collapse into few directions" in capsys.readouterr().err) == rings
