"""Every part of Lightning that genlab reaches for is there, and does what its function says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback

from genlab.errors import InputError
from genlab.internals import lightning_loops as parts
from genlab.internals import lightning_parts
from genlab.internals.lightning_state import load_waiting_loader_states
from tests.internals.line import Line, Momentum, Rows, fit, ones
from tests.optim.tiny import quiet


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


def test_spare_sigterm_broadcast(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = quiet(max_steps=1)
    loop = trainer.fit_loop.epoch_loop
    before = getattr(loop, parts.SIGTERM_BROADCAST)
    parts.spare_sigterm_broadcast(trainer)
    assert getattr(loop, parts.SIGTERM_BROADCAST) != before
    monkeypatch.setattr(parts, "SIGTERM_BROADCAST", "_of_another_version")
    parts.spare_sigterm_broadcast(trainer)
    assert not hasattr(loop, "_of_another_version")


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


def test_stop_where_stopped_ends_the_epoch_and_trains_no_batch(tmp_path: Path) -> None:
    def save(name: str) -> Any:
        return lambda trainer, *_: trainer.save_checkpoint(tmp_path / name)

    saves = {"on_validation_end": save("middle"), "on_train_end": save("end")}
    straight = quiet(max_epochs=1, val_check_interval=1.0, callbacks=[LambdaCallback(**saves)])
    fit(straight)
    for name, ends in (("middle", 1), ("end", 0)):
        hooks = list[str]()
        watch = LambdaCallback(
            on_load_checkpoint=lambda t, m, found: parts.stop_where_stopped(t, found),
            on_train_batch_start=lambda *_, to=hooks: to.append("batch"),
            on_train_epoch_end=lambda *_, to=hooks: to.append("epoch"),
            on_train_end=lambda *_, to=hooks: to.append("end"),
        )
        trainer = quiet(max_epochs=5, val_check_interval=1.0, callbacks=[watch])
        fit(trainer, ckpt_path=tmp_path / name)
        assert hooks == ["epoch", "end"] * ends
        assert (trainer.current_epoch, trainer.global_step) == (1, 6)
        loop, wanted = (one.fit_loop.epoch_loop for one in (trainer, straight))
        assert loop._batches_that_stepped == wanted._batches_that_stepped


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
        (lambda: load_waiting_loader_states(trainer), "_load_combined_loader_states"),
    ):
        with pytest.raises(InputError, match=rf"lightning [\d.]+ is not supported: .*{name}"):
            function()


def test_step_uncounted() -> None:
    trainer, method = quiet(max_epochs=1), Line(automatic=False)
    fit(trainer, method)
    assert trainer.global_step == 0
    assert method.weight.item() == pytest.approx(-0.1 * sum(range(1, 7)))  # gradients add up


def test_set_logged_step() -> None:
    rows, trainer = Rows(), quiet(max_steps=3, log_every_n_steps=1)
    lightning_parts.set_loggers(trainer, [rows])
    renumber = LambdaCallback(on_train_batch_end=lambda *_: parts.set_logged_step(trainer, 41))
    lightning_parts.add_first(trainer, renumber)
    fit(trainer)
    assert rows.steps == [41, 41, 41]
