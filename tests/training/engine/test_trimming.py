"""What is left out of a step is what nobody asked for, and training stays what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.profilers import SimpleProfiler

from genlab.training.engine.trimming import NoProfiler, lean
from tests.callbacks.tiny import Line, digits, trainer


class Ends(L.Callback):
    """Counts batches."""

    def __init__(self) -> None:
        self.batches = 0

    def on_train_batch_end(self, *_: Any) -> None:
        self.batches += 1


def test_hooks_that_a_callback_has_are_called_and_weights_are_the_same(tmp_path: Path) -> None:
    weights = []
    for thin in (False, True):
        torch.manual_seed(0)
        ends, model = Ends(), Line()
        fit = trainer(tmp_path / str(thin), ends, max_epochs=1, limit_val_batches=0)
        if thin:
            lean(fit)
            assert ends.on_train_batch_start is None
        fit.fit(model, datamodule=digits())
        assert ends.batches == 10
        weights.append([p.detach() for p in model.parameters()])
    for a, b in zip(*weights, strict=True):
        assert torch.equal(a, b)


def test_a_hook_that_is_not_the_class_s_stays(tmp_path: Path) -> None:
    seen: list[int] = []
    callback = LambdaCallback(on_train_batch_end=lambda *_: seen.append(1))
    fit = trainer(tmp_path, callback, max_epochs=1, limit_val_batches=0)
    lean(fit)
    fit.fit(Line(), datamodule=digits())
    assert len(seen) == 10


def test_a_profiler_that_was_asked_for_stays(tmp_path: Path) -> None:
    fit = trainer(tmp_path, profiler=SimpleProfiler())
    lean(fit)
    assert isinstance(fit.profiler, SimpleProfiler)  # type: ignore[attr-defined]
    other = trainer(tmp_path)
    lean(other)
    assert isinstance(other.profiler, NoProfiler)  # type: ignore[attr-defined]
