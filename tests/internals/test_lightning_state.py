"""Every part of Lightning that genlab reaches for is there, and does what its function says."""

from __future__ import annotations

import importlib
import multiprocessing
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.distributed import _sync_ddp_if_available
from lightning.pytorch.callbacks import LambdaCallback

from genlab.internals import lightning_parts
from genlab.internals import lightning_state as parts
from genlab.testing.ranks import Ranks
from tests.internals.line import Counting, Hasty, Rows, Sums, fit
from tests.optim.tiny import quiet


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


def test_waiting_row() -> None:
    """A hook is told what Lightning writes after it; once validation has begun, nothing."""
    told, rows = [], Rows()
    hook = LambdaCallback(
        on_train_batch_end=lambda t, *_: told.append(parts.waiting_row(t)),
        on_validation_end=lambda t, _: told.append(parts.waiting_row(t)),
    )
    trainer = quiet(max_epochs=1, log_every_n_steps=2, callbacks=[hook])
    lightning_parts.set_loggers(trainer, [rows])
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


def mean(rank: int, world: int, mend: bool) -> float:
    """What Lightning makes of a mean over five images, of which rank zero has three."""
    from lightning.pytorch.trainer.connectors.logger_connector import result

    parts.divide_by_exact_counts()  # as a training in the parent has done
    importlib.reload(result)
    made = result._Metadata("validation_step", "loss", on_epoch=True)
    made.sync = result._Sync(_should=True, fn=_sync_ddp_if_available, _op="mean")
    if mend:
        parts.divide_by_exact_counts()
    metric = result._ResultMetric(made, is_tensor=True)
    for value in ([1.0, 2.0, 3.0], [4.0, 5.0])[rank]:
        metric.update(torch.tensor(value), 1)
    return float(metric.compute())


def test_divide_by_exact_counts() -> None:
    """Should Lightning count exactly one day, the first case fails and the part can go."""
    with Ranks() as own:  # the part stays in their processes
        forked: Any = multiprocessing.get_context("fork")  # of this process, which has Lightning
        own._context = forked
        assert own.run(mean, 2, False) == [3.75] * 2
        assert own.run(mean, 2, True) == [3.0] * 2
