"""A training that ends before the steps it was given says so."""

from __future__ import annotations

from typing import Any

import lightning as L
import pytest

from genlab.training.length import note_early_end, note_waiting


@pytest.mark.parametrize(
    ("epochs", "steps", "accumulate", "said"),
    [
        (30, 100, 1, "trainer.max_epochs=30 ends training after 90 steps, 3 an epoch, before "
                     "trainer.max_steps=100"),
        (30, 100, 2, "after 60 steps, 2 an epoch"),
        (30, 90, 1, ""),
        (30, -1, 1, ""),
        (-1, 100, 1, ""),
    ],
)  # fmt: skip
def test_the_limit_that_ends_training_first(
    epochs: int, steps: int, accumulate: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = L.Trainer(max_epochs=epochs, max_steps=steps, accumulate_grad_batches=accumulate,
                        logger=False, enable_checkpointing=False, accelerator="cpu")  # fmt: skip
    capsys.readouterr()
    note_early_end(trainer, [1, 2, 3])
    note_early_end(trainer, iter([1, 2, 3]))  # without a length
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("trainer.max_epochs") == bool(said)


@pytest.mark.parametrize(
    ("waits", "epochs", "steps", "accumulate", "said"),
    [
        (100, 20, -1, 1, "the encoder waits 100 steps, the run has 60,"),
        (100, 100, 60, 1, "the encoder waits 100 steps, the run has 60,"),
        (100, -1, 100, 1, "the run has 100,"),
        (20, 20, -1, 3, "the run has 20,"),
        (100, 100, 101, 1, ""),
        (100, -1, -1, 1, ""),
        (0, 1, -1, 1, ""),
    ],
)
def test_an_encoder_that_waits_longer_than_the_run(
    waits: int, epochs: int, steps: int, accumulate: int, said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    trainer = L.Trainer(max_epochs=epochs, max_steps=steps, accumulate_grad_batches=accumulate,
                        logger=False, enable_checkpointing=False, accelerator="cpu")  # fmt: skip
    capsys.readouterr()
    method: Any = L.LightningModule()
    method.freeze_encoder_steps, method.freeze_steps = waits, 0
    note_waiting(method, trainer, [1, 2, 3])
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("model.freeze_encoder_steps") == bool(said)
