"""The probe learns, the method does not notice it, and a resume goes on exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from genlab import checkpoints
from genlab.callbacks import Checkpoints, OnlineProbe
from genlab.callbacks.online_probe import Probe
from genlab.data import Digits
from tests.callbacks.programs_watching import digits
from tests.callbacks.tiny import Line, trainer
from tests.methods.programs_ssl import METHODS, same_state, small


def fit(
    folder: Path, name: str, *callbacks: Any, resume: Path | None = None, **options: Any
) -> Any:
    """Without `Reseed`: a draw of the probe would show."""
    method = small(name, optimizer={"name": "sgd", "lr": 0.02, "momentum": 0.9})
    keep = Checkpoints(None, keep_every_n_steps=1)
    run = trainer(folder, *callbacks, keep, **options)
    data = digits(batch_size=32 * options.get("accumulate_grad_batches", 1))
    torch.manual_seed(7)
    run.fit(method, datamodule=data, ckpt_path=resume, weights_only=True if resume else None)
    return method, run, torch.rand(3)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_trained_the_same_with_it_and_without(name: str, tmp_path: Path) -> None:
    """Weights, momentum copies, queue and statistics to the bit; the generator too."""
    probe = OnlineProbe()
    with_, run, after = fit(tmp_path / "with", name, probe, max_epochs=1)
    without, _, before = fit(tmp_path / "without", name, max_epochs=1)
    assert same_state(with_.state_dict(), without.state_dict()) == []
    assert torch.equal(after, before)
    assert probe.probe is not None
    assert int(probe.probe.updates) == 10
    assert probe.probe.weight.any()
    assert 0 <= run.callback_metrics["val/probe_top1"] <= 1
    assert not with_.encoder._forward_hooks


@pytest.mark.parametrize("name", METHODS)
def test_it_sees_the_views_that_train_the_encoder_each_with_its_label(
    name: str, tmp_path: Path
) -> None:
    learnt: list[tuple[Tensor, Tensor]] = []

    class Spy(OnlineProbe):
        def _learn(self, h: Tensor, label: Tensor) -> None:
            learnt.append((h, label))

    method, outputs = small(name), []
    method.encoder.register_forward_hook(lambda _, __, h: outputs.append(h.detach()))
    run = trainer(tmp_path, Spy(), max_steps=1, limit_val_batches=0)
    data = digits()
    run.fit(method, datamodule=data)
    ((h, label),) = learnt
    assert torch.equal(h, torch.cat(outputs))
    expected = next(iter(data.train_dataloader()))["label"]
    views = 1 if name == "moco" else 2
    assert torch.equal(label, torch.cat([expected] * views))


def test_resumed_is_the_straight_run(tmp_path: Path) -> None:
    """In mid-epoch and with accumulation: classifier, statistics, optimiser."""
    straight, resumed = OnlineProbe(), OnlineProbe()
    options: dict[str, Any] = {"max_epochs": 2, "accumulate_grad_batches": 2}
    _, run, _ = fit(tmp_path / "a", "byol", straight, **options)
    saved = tmp_path / "a/checkpoints/step-00000003.ckpt"
    _, again, _ = fit(tmp_path / "b", "byol", resumed, resume=saved, **options)
    a, b = straight.state_dict(), resumed.state_dict()
    assert int(a["probe"]["updates"]) == 10
    assert same_state(a["probe"], b["probe"]) == []
    for key in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(a["optimizer"]["state"][0][key], b["optimizer"]["state"][0][key])
    assert run.callback_metrics["val/probe_top1"] == again.callback_metrics["val/probe_top1"]
    kept = checkpoints.read(saved)["callbacks"]["OnlineProbe"]
    assert int(kept["probe"]["updates"]) == 3


def blobs(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Three classes in six dimensions of very different scales."""
    label = torch.randint(3, (n,), generator=generator)
    h = torch.randn(n, 6, generator=generator) + 4 * F.one_hot(label, 6)
    return h * torch.tensor([1e-2, 1.0, 1e2, 1.0, 1.0, 1e3]) + 5, label


def test_it_learns_whatever_the_scale_of_the_features() -> None:
    generator, probe = torch.Generator().manual_seed(0), Probe(6, 3)
    callback = OnlineProbe(lr=0.05)
    callback.probe, callback.optimizer = probe, torch.optim.AdamW(probe.parameters(), 0.05)
    for _ in range(100):
        h, label = blobs(64, generator)
        callback._learn(h, label.where(torch.rand(64, generator=generator) < 0.5, -1))
    h, label = blobs(1000, generator)
    assert (probe(h).argmax(1) == label).float().mean() > 0.95
    assert ((probe.mean - h.mean(0)).abs() < 0.2 * h.std(0)).all()
    torch.testing.assert_close(probe.variance.sqrt(), h.std(0), rtol=0.2, atol=0.0)


def test_labels_that_nobody_knows_teach_nothing() -> None:
    probe, callback = Probe(6, 3), OnlineProbe()
    callback.probe, callback.optimizer = probe, torch.optim.AdamW(probe.parameters(), 0.05)
    callback._learn(torch.randn(8, 6), torch.full((8,), -1))
    assert not probe.weight.any()
    assert probe.weight.isfinite().all()


def test_without_classes_or_an_encoder_there_is_no_figure(tmp_path: Path) -> None:
    class Unnamed(Digits):
        num_classes = 0

    data = Unnamed(batch_size=32, limit=320, val_size=100, views="simclr")
    options = {"max_epochs": 1, "enable_checkpointing": False}
    run = trainer(tmp_path, OnlineProbe(), **options)
    run.fit(small("simclr"), datamodule=data)
    assert "val/probe_top1" not in run.callback_metrics
    run = trainer(tmp_path, OnlineProbe(), **options)
    run.fit(Line(), datamodule=digits())
    assert "val/probe_top1" not in run.callback_metrics


@pytest.mark.parametrize("wrong", [{"lr": 0}, {"weight_decay": -1}])
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"OnlineProbe.{next(iter(wrong))}"):
        OnlineProbe(**wrong)


def test_the_gradient_that_is_written_out_is_autograds() -> None:
    torch.manual_seed(0)
    probe = Probe(7, 4).double()
    for p in probe.parameters():
        torch.nn.init.normal_(p)
    h, label = torch.randn(12, 7).double(), torch.randint(4, (12,))
    label[[2, 5]] = -1
    probe.look(h)
    loss = F.cross_entropy(probe(h), label, ignore_index=-1, reduction="sum")
    expected = torch.autograd.grad(loss, list(probe.parameters()))
    *found, known = probe.gradients(h, label)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
    assert known.item() == 10
