"""Every part of Lightning that genlab reaches for is there, and does what its function says."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, LambdaCallback
from lightning.pytorch.profilers import PassThroughProfiler

from genlab.internals import lightning_parts as parts
from tests.internals.line import Line, Outer, Rows, fit
from tests.optim.tiny import quiet


def test_trainer_of() -> None:
    method, trainer = Line(), quiet(max_steps=1)
    assert parts.trainer_of(method) is None
    method.trainer = trainer
    assert parts.trainer_of(method) is trainer


def test_set_loggers() -> None:
    rows, trainer = Rows(), quiet(max_steps=3, log_every_n_steps=1)
    parts.set_loggers(trainer, [rows])
    fit(trainer)
    assert rows.steps == [0, 1, 2]


def test_set_profiler() -> None:
    seen: set[str] = set()

    class Names(PassThroughProfiler):
        def profile(self, action_name: str) -> Any:
            seen.add(action_name)
            return nullcontext()

    trainer = quiet(max_steps=1)
    parts.set_profiler(trainer, Names())
    fit(trainer)
    assert "run_training_batch" in seen


def test_add_first() -> None:
    called: list[int] = []
    second = LambdaCallback(on_train_start=lambda *_: called.append(2))
    trainer = quiet(max_steps=1, callbacks=[second])
    parts.add_first(trainer, LambdaCallback(on_train_start=lambda *_: called.append(1)))
    fit(trainer)
    assert called == [1, 2]


def test_drop_hook() -> None:
    class Angry(L.Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            raise AssertionError

    callback = Angry()
    parts.drop_hook(callback, "on_train_batch_start")
    fit(quiet(max_steps=1, callbacks=[callback]))


def test_was_interrupted() -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    trainer = quiet(max_steps=2, callbacks=[LambdaCallback(on_train_batch_end=stop)])
    assert not parts.was_interrupted(trainer)
    with pytest.raises(SystemExit):
        fit(trainer)
    assert parts.was_interrupted(trainer)


@pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")
def test_take_class_path(outer: Outer) -> None:
    arguments = dict(outer.hparams)
    assert parts.take_class_path(arguments) == f"{Outer.__module__}.Outer"
    assert arguments == {"lr": 0.3}
    assert parts.take_class_path(arguments) is None


@pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")
def test_outside_cli(outer: Outer) -> None:
    """Should the first assertion fail one day, Lightning is mended and the part can go."""
    assert outer.plain.hparams["lr"] == 0.3
    assert outer.outside.hparams["lr"] == 0.1


def test_global_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    assert parts.global_seed() == 0
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")  # so that it is taken back
    L.seed_everything(7, verbose=False)
    assert parts.global_seed() == 7


def test_constructing_gives_hyper_parameters_with_the_class() -> None:
    with parts.constructing({"_class_path": "a.Line", "lr": 0.5}):
        line = Line(lr=0.1)
    assert line.hparams["lr"] == 0.5
    assert parts.take_class_path(dict(line.hparams)) == "a.Line"
    assert Line(lr=0.1).hparams == {"lr": 0.1, "automatic": True}


def test_constructing_without_it_keeps_the_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning.pytorch.core.mixins import hparams_mixin

    monkeypatch.delattr(hparams_mixin, "_given_hyperparameters_context")
    with parts.constructing({"_class_path": "a.Line", "lr": 0.5}):
        assert Line(lr=0.1).hparams["lr"] == 0.1


def test_add_before() -> None:
    one, other, new = L.Callback(), L.Callback(), L.Callback()
    trainer = quiet(callbacks=[one, other])
    parts.add_before(trainer, new, other)
    every: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    found = [c for c in every if c in (one, other, new)]
    assert found == [one, new, other]


def test_stop_after_validations() -> None:
    """An epoch that ends without a validation has no metric to look at."""
    stopper, other, told = (
        EarlyStopping("val/loss"),
        EarlyStopping("train/loss"),
        EarlyStopping("val/loss", check_on_train_epoch_end=True),
    )
    for one in (stopper, other, told):
        parts.stop_after_validations(one)
    assert [one._check_on_train_epoch_end for one in (stopper, other, told)] == [False, None, True]


def test_hook_of_callback() -> None:
    class Broken(L.Callback):
        def on_train_start(self, *_: Any) -> None:
            raise ArithmeticError("of a callback")

    broken = Broken()
    with pytest.raises(ArithmeticError) as caught:
        fit(quiet(max_steps=1, callbacks=[broken]))
    assert parts.hook_of_callback(caught.value) == ("on_train_start", broken)
    assert parts.hook_of_callback(ValueError("elsewhere")) is None


def test_a_trainer_of_the_cpu_says_another_device_while_asked() -> None:
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    accelerator: Any = trainer.strategy.accelerator
    with parts.on_device(trainer, torch.device("cuda", 0)):
        assert trainer.strategy.root_device == torch.device("cuda", 0)
        accelerator.setup_device(torch.device("cuda", 0))
    assert trainer.strategy.root_device == torch.device("cpu")
