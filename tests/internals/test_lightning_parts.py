"""Every part of Lightning that genlab reaches for is there, and does what its function says."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.profilers import PassThroughProfiler
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric

from genlab.errors import InputError
from genlab.internals import lightning_parts as parts
from tests.optim.tiny import quiet


class Line(L.LightningModule):
    """A line without offset, trained on ones."""

    def __init__(self, lr: float = 0.1, automatic: bool = True) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.automatic_optimization = automatic

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor | None:
        loss = (batch[0] * self.weight).sum()
        if self.automatic_optimization:
            self.log("loss", loss.detach())
            return loss

        def closure() -> torch.Tensor:
            self.manual_backward(loss)
            return loss

        parts.step_uncounted(self.trainer, self.trainer.optimizers[0], closure, self)
        return None

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), self.hparams["lr"])


def ones(count: int = 6) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.ones(count, 1)))


def fit(trainer: L.Trainer, method: L.LightningModule | None = None, **options: Any) -> None:
    trainer.fit(method or Line(), ones(), ones(1), **options)


def test_trainer_of() -> None:
    method, trainer = Line(), quiet(max_steps=1)
    assert parts.trainer_of(method) is None
    method.trainer = trainer
    assert parts.trainer_of(method) is trainer


class Rows(DummyLogger):
    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:  # type: ignore[override]
        self.steps += [step] if "loss" in metrics else []


def test_set_loggers_and_set_logged_step() -> None:
    rows, trainer = Rows(), quiet(max_steps=3, log_every_n_steps=1)
    parts.set_loggers(trainer, [rows])
    renumber = LambdaCallback(on_train_batch_end=lambda *_: parts.set_logged_step(trainer, 41))
    parts.add_first(trainer, renumber)
    fit(trainer)
    assert rows.steps == [41, 41, 41]


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


def test_batches_of_epoch_of_run_and_per_validation() -> None:
    seen: list[tuple[int, int, float]] = []

    def note(trainer: L.Trainer, *_: Any) -> None:
        counts = (parts.batches_of_epoch(trainer), parts.batches_of_run(trainer))
        seen.append((*counts, parts.batches_per_validation(trainer)))

    callback = LambdaCallback(on_train_batch_end=note)
    fit(quiet(max_epochs=2, val_check_interval=3, callbacks=[callback]))
    assert seen == [(batch % 6 + 1, batch + 1, 3) for batch in range(12)]
    fit(quiet(max_epochs=1, val_check_interval=1.0, callbacks=[callback]))
    assert seen[-1] == (6, 6, 6)


def test_step_uncounted() -> None:
    trainer, method = quiet(max_epochs=1), Line(automatic=False)
    fit(trainer, method)
    assert trainer.global_step == 0
    assert method.weight.item() == pytest.approx(-0.1 * sum(range(1, 7)))  # gradients add up


def test_spare_sigterm_broadcast(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = quiet(max_steps=1)
    loop = trainer.fit_loop.epoch_loop
    before = getattr(loop, parts.SIGTERM_BROADCAST)
    parts.spare_sigterm_broadcast(trainer)
    assert getattr(loop, parts.SIGTERM_BROADCAST) != before
    monkeypatch.setattr(parts, "SIGTERM_BROADCAST", "_of_another_version")
    parts.spare_sigterm_broadcast(trainer)
    assert not hasattr(loop, "_of_another_version")


class Counting:
    """A loader with a state: how many batches it has given."""

    def __init__(self) -> None:
        self.given = 0
        self.loaded: dict[str, int] | None = None

    def __iter__(self) -> Any:
        for _ in range(4):
            self.given += 1
            yield [torch.ones(1, 1)]

    def __len__(self) -> int:
        return 4

    def state_dict(self) -> dict[str, int]:
        return {"given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.loaded = state


class Hasty(Line):
    """Has the loaders built before a checkpoint is read."""

    validation_step = L.LightningModule.validation_step  # type: ignore[assignment]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        assert self.trainer.estimated_stepping_batches
        return super().configure_optimizers()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A checkpoint of two batches of an epoch of four."""
    trainer = quiet(max_epochs=1, max_steps=2)
    trainer.fit(Hasty(), Counting())
    trainer.save_checkpoint(tmp_path / "some.ckpt")
    return tmp_path / "some.ckpt"


def test_load_waiting_loader_states(file: Path) -> None:
    """Should Lightning load them by itself one day, the first case fails and the part can go."""
    for mend in (False, True):
        loader, callback = Counting(), L.Callback()
        if mend:
            callback = LambdaCallback(
                on_train_start=lambda t, _: parts.load_waiting_loader_states(t)
            )
        trainer = quiet(max_epochs=2, max_steps=3, callbacks=[callback])
        trainer.fit(Hasty(), loader, ckpt_path=file, weights_only=True)
        assert loader.loaded == ({"given": 2} if mend else None)


def test_loader_states_epoch_counters_and_logged_step(file: Path) -> None:
    checkpoint = torch.load(file, weights_only=True)
    assert parts.loader_states(checkpoint) == [{"given": 2}]
    assert parts.loader_states({}) == []
    epochs, batches = parts.epoch_counters(checkpoint)
    for counts in (epochs["current"], epochs["total"]):
        assert counts.keys() == {"ready", "started", "processed", "completed"}
    assert parts.logged_step(checkpoint) == 2
    assert batches["current"]["completed"] == 2
    assert batches["is_last_batch"] is False


class Outer(L.LightningModule):
    """A method that builds another one, as a prior builds its tokenizer."""

    def __init__(self, lr: float = 0.3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.plain, self.outside = Line(), parts.outside_cli(Line)


@pytest.fixture
def outer() -> Outer:
    cli = LightningCLI(
        L.LightningModule,
        subclass_mode_model=True,
        args={"model": {"class_path": f"{__name__}.Outer"}},
        run=False,
        save_config_callback=None,
        trainer_defaults={"logger": False, "accelerator": "cpu"},
        seed_everything_default=False,
        auto_configure_optimizers=False,
    )
    return cli.model


@pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")
def test_take_class_path(outer: Outer) -> None:
    arguments = dict(outer.hparams)
    assert parts.take_class_path(arguments) == f"{__name__}.Outer"
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


class Momentum(Line):
    """A line with a scheduler by steps, clipped."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def test_around_steps_sees_every_batch_and_its_result_is_the_outputs() -> None:
    for automatic in (True, False):
        seen = list[Any]()
        watch = LambdaCallback(on_train_batch_end=lambda t, m, out, *_, to=seen: to.append(out))
        trainer = quiet(max_epochs=1, callbacks=[watch])
        parts.around_steps(trainer, lambda run, batch: {"batch": float(batch[0])} | (run() and {}))
        fit(trainer, Line(automatic=automatic))
        assert seen == [{"batch": 1.0}] * 6


def test_after_gradients_comes_after_clipping_and_knows_the_norm() -> None:
    for clip in (None, 0.25):
        trainer, seen = quiet(max_steps=1, gradient_clip_val=clip), list[Any]()

        def check(optimizer: Any, norm: Any, seen: list[Any] = seen) -> None:
            seen.append((float(optimizer.param_groups[0]["params"][0].grad), norm))

        parts.after_gradients(trainer, check)
        fit(trainer)
        assert seen[0] == (pytest.approx(clip or 1.0, abs=1e-4), None if clip is None else 1.0)


def test_pass_over_steps() -> None:
    for count, weight in ((5, -0.1), (6, 0.0)):
        trainer, method = quiet(max_epochs=1), Line(automatic=False)
        parts.pass_over_steps(trainer, count)
        fit(trainer, method)
        assert method.weight.item() == pytest.approx(weight)


def test_hold_schedulers_and_uncount_step_and_position() -> None:
    trainer, places = quiet(max_epochs=1), list[parts.Position]()
    method = Momentum()
    parts.hold_schedulers(trainer, lambda: len(places) <= 3)

    def around(run: Any, batch: Any) -> Any:
        places.append(parts.position(trainer))
        if len(places) > 3:
            return run()
        trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.increment_ready()
        parts.uncount_step(trainer)
        return {}

    parts.around_steps(trainer, around)
    fit(trainer, method)
    assert [place.step for place in places] == [0, 0, 0, 0, 1, 2]
    assert [place.batch for place in places] == [0, 1, 2, 3, 4, 5]
    assert places[5].logged == 2
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1 / 8)


def test_accumulates() -> None:
    trainer, seen = quiet(max_epochs=1, accumulate_grad_batches=4), list[bool]()

    def around(run: Any, batch: Any) -> Any:
        seen.append(parts.accumulates(trainer))
        return run()

    parts.around_steps(trainer, around)
    fit(trainer)
    assert seen == [True, True, True, False, True, False]


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint")
def test_checkpoint_at_a_batch_continues_there(tmp_path: Path) -> None:
    trainer, kept = quiet(max_epochs=2), list[Any]()

    def around(run: Any, batch: Any) -> Any:
        at = parts.position(trainer)
        if at.epoch == 1 and at.batch == 2:
            kept.append(parts.checkpoint_at(trainer, at))
        return run()

    parts.around_steps(trainer, around)
    fit(trainer)
    torch.save(kept[0], tmp_path / "x.ckpt")
    again, places = quiet(max_epochs=2), list[parts.Position]()

    def note(run: Any, batch: Any) -> Any:
        places.append(parts.position(again))
        return run()

    parts.around_steps(again, note)
    again.fit(Line(), ones(), ones(1), ckpt_path=tmp_path / "x.ckpt", weights_only=True)
    assert (places[0].epoch, places[0].batch, places[0].step, places[0].batches) == (1, 2, 8, 8)


def test_a_part_that_another_version_lacks_is_named() -> None:
    trainer: Any = type("Trainer", (), {"fit_loop": type("Loop", (), {"epoch_loop": object()})})
    for function, name in (
        (lambda: parts.set_logged_step(trainer, 0), "_batches_that_stepped"),
        (lambda: parts.load_waiting_loader_states(trainer), "_load_combined_loader_states"),
    ):
        with pytest.raises(InputError, match=rf"lightning [\d.]+ is not supported: .*{name}"):
            function()


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


class Sums(Line):
    """Logs a mean of an epoch, and a torchmetric in validation."""

    def __init__(self) -> None:
        super().__init__()
        self.metric = MeanMetric()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("x", float(batch_idx), on_step=False, on_epoch=True, batch_size=2)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.metric.update(1.0)
        self.log("y", self.metric, batch_size=1)


def test_waiting_row() -> None:
    """A hook is told what Lightning writes after it; once validation has begun, nothing."""
    told, rows = [], Rows()
    hook = LambdaCallback(
        on_train_batch_end=lambda t, *_: told.append(parts.waiting_row(t)),
        on_validation_end=lambda t, _: told.append(parts.waiting_row(t)),
    )
    trainer = quiet(max_epochs=1, log_every_n_steps=2, callbacks=[hook])
    parts.set_loggers(trainer, [rows])
    fit(trainer)
    found = [row for row in told if row]
    assert [row["step"] for row in found] == rows.steps == [1, 3, 5]
    assert told[-1] == {}
    assert found[0]["epoch"] == 0
    assert set(found[0]["values"]) == {"loss"}


def test_epoch_results_and_restore_epoch_results() -> None:
    """A second training of six batches goes on with the sums of the first."""
    found: list[dict[str, Any]] = []
    note = LambdaCallback(on_train_batch_end=lambda t, *_: found.append(parts.epoch_results(t)))
    trainer = quiet(max_epochs=1, callbacks=[note])
    fit(trainer, Sums())
    assert [type(m).__name__ for m in parts.metrics_of_validation(trainer)] == ["MeanMetric"]
    restore = LambdaCallback(on_train_start=lambda t, _: parts.restore_epoch_results(t, found[5]))
    fit(quiet(max_epochs=1, callbacks=[restore, note]), Sums())
    sums = [results["training_step.x"]["sums"] for results in found]
    assert [float(s["value"]) for s in sums] == [0, 2, 6, 12, 20, 30, 30, 32, 36, 42, 50, 60]
    assert int(sums[-1]["cumulated_batch_size"]) == 24
