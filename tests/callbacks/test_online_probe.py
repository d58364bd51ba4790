"""The probe learns, the method does not notice it, and a resume goes on exactly."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from genlab import checkpoints
from genlab.callbacks import OnlineProbe
from genlab.callbacks.online_probe import Probe
from genlab.data import Digits
from genlab.methods.barlow_twins import BarlowTwins
from genlab.methods.mae import MAE
from genlab.methods.nnclr import NNCLR
from genlab.methods.simclr import SimCLR
from genlab.methods.swav import SwAV
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.callbacks.programs_watching import digits
from tests.callbacks.tiny import Line, trainer
from tests.methods import programs_fixmatch
from tests.methods.programs_ssl import METHODS, VIT, same_state, small


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
    assert probe.probe.updates == 10
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


def learnt_by(kind: Any, folder: Path, **options: Any) -> list[tuple[list[float], int]]:
    """Features with their labels that the probe learns from in a step, in some order."""
    rows: list[tuple[list[float], int]] = []

    class Spy(OnlineProbe):
        def _learn(self, h: Tensor, label: Tensor) -> None:
            rows.extend(zip(h.tolist(), label.tolist(), strict=True))

    torch.manual_seed(1)
    method = kind(**VIT, projector_dims=[12, 6], **options)
    run = trainer(folder, Reseed(), Spy(), max_steps=1, limit_val_batches=0)
    run.fit(method, datamodule=digits(limit=32))
    return sorted(rows)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (SimCLR, {"projector_norm": None}),
        (BarlowTwins, {"projector_norm": None}),
        (SwAV, {"prototypes": 5, "projector_norm": None}),
        (NNCLR, {"predictor_dims": [8, 6], "head_norm": None, "queue_size": 50}),
    ],
)
def test_rows_of_a_batch_in_chunks_keep_their_labels_and_come_once(
    kind: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    parts, whole = (
        learnt_by(kind, tmp_path / str(chunks), chunks=chunks, **options) for chunks in (3, 1)
    )
    assert len(parts) == len(whole) == 64
    for (found, label), (expected, wanted) in zip(parts, whole, strict=True):
        assert label == wanted
        assert found == pytest.approx(expected, abs=1e-5)


def test_a_method_that_trains_on_tokens_alone_is_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder: dict[str, Any] = {"decoder_width": 8, "decoder_depth": 1, "decoder_num_heads": 2}
    data = Digits(batch_size=32, limit=64, val_size=100)
    run = trainer(tmp_path, OnlineProbe(), max_epochs=2)
    run.fit(MAE(**VIT, **decoder), datamodule=data)
    assert "val/probe_top1" not in run.callback_metrics
    assert capsys.readouterr().err.count("MAE trains without its encoder's") == 1
    run = trainer(tmp_path / "simclr", OnlineProbe(), max_steps=1)
    run.fit(small("simclr"), datamodule=digits())
    assert "OnlineProbe" not in capsys.readouterr().err


def test_resumed_is_the_straight_run(tmp_path: Path) -> None:
    """In mid-epoch and with accumulation: classifier, statistics, optimiser."""
    straight, resumed = OnlineProbe(), OnlineProbe()
    options: dict[str, Any] = {"max_epochs": 2, "accumulate_grad_batches": 2}
    _, run, _ = fit(tmp_path / "a", "byol", straight, **options)
    saved = tmp_path / "a/checkpoints/step-00000003.ckpt"
    _, again, _ = fit(tmp_path / "b", "byol", resumed, resume=saved, **options)
    a, b = straight.state_dict(), resumed.state_dict()
    assert a["probe"].pop("_extra_state") == b["probe"].pop("_extra_state") == 10
    assert same_state(a["probe"], b["probe"]) == []
    assert {"first", "second", "mean", "variance"} <= a["probe"].keys()
    assert run.callback_metrics["val/probe_top1"] == again.callback_metrics["val/probe_top1"]
    kept = checkpoints.read(saved)["callbacks"]["OnlineProbe"]
    assert kept["probe"]["_extra_state"] == 3


def blobs(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Three classes in six dimensions of very different scales."""
    label = torch.randint(3, (n,), generator=generator)
    h = torch.randn(n, 6, generator=generator) + 4 * F.one_hot(label, 6)
    return h * torch.tensor([1e-2, 1.0, 1e2, 1.0, 1.0, 1e3]) + 5, label


def test_it_learns_whatever_the_scale_of_the_features() -> None:
    generator, probe = torch.Generator().manual_seed(0), Probe(6, 3)
    callback = OnlineProbe(lr=0.05)
    callback.probe = probe
    for _ in range(100):
        h, label = blobs(64, generator)
        callback._learn(h, label.where(torch.rand(64, generator=generator) < 0.5, -1))
    h, label = blobs(1000, generator)
    assert (probe(h).argmax(1) == label).float().mean() > 0.95
    assert ((probe.mean - h.mean(0)).abs() < 0.2 * h.std(0)).all()
    torch.testing.assert_close(probe.variance.sqrt(), h.std(0), rtol=0.2, atol=0.0)


def test_a_step_is_adamws_on_the_mean_cross_entropy() -> None:
    generator, probe = torch.Generator().manual_seed(0), Probe(6, 3)
    line = torch.nn.Linear(6, 3)
    torch.nn.init.zeros_(line.weight)
    torch.nn.init.zeros_(line.bias)
    optimizer = torch.optim.AdamW(line.parameters(), 0.05, weight_decay=0.1)
    for number in range(5):
        h, label = blobs(64, generator)
        label[number::7] = -1
        probe.learn(h, label, lr=0.05, weight_decay=0.1)
        x = (h - probe.mean) / (probe.variance + 1e-6).sqrt()
        optimizer.zero_grad()
        F.cross_entropy(line(x), label, ignore_index=-1).backward()
        optimizer.step()
        expected = torch.cat([line.weight, line.bias[:, None]], 1).detach()
        torch.testing.assert_close(probe.weight, expected, rtol=1e-4, atol=1e-6)


def test_labels_that_nobody_knows_teach_nothing() -> None:
    probe, callback = Probe(6, 3), OnlineProbe()
    callback.probe = probe
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


def test_with_few_labels_it_learns_from_the_labelled_images_alone() -> None:
    """FixMatch encodes the labelled images, then the others' views, in one pass."""
    learnt: list[tuple[Tensor, Tensor]] = []

    class Spy(OnlineProbe):
        def _learn(self, h: Tensor, label: Tensor) -> None:
            learnt.append((h, label))

    probe, method = Spy(), programs_fixmatch.small()
    probe.probe = Probe(method.encoder.out_dim, programs_fixmatch.K)
    method.encoder.register_forward_hook(probe._listen)
    (batch,) = programs_fixmatch.batches()
    method.training_step(batch, 0)
    run: Any = SimpleNamespace(global_step=1)
    probe.on_train_batch_end(run, method, None, batch, 0)
    ((h, label),) = learnt
    assert h.shape == (4 + 2 * 12, method.encoder.out_dim)
    assert label.tolist() == [0, 1, 2, 3] + [-1] * 24
