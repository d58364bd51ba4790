"""Cost of the check for steps that are not finite: blocks of steps with and without, in turns."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from genlab import recipes
from genlab.internals import lightning_parts
from genlab.training.building import build
from genlab.training.engine.finite import FiniteGuard
from genlab.training.engine.memory import keep_freed_memory

pytestmark = [
    pytest.mark.benchmarks,
    pytest.mark.filterwarnings("ignore:.*checksums are not"),  # of a sample of CIFAR-10
]
PAIRS = 10  # of blocks; one more goes before
HOOKS = ("on_before_backward", "on_train_batch_end")


class Switch(L.Callback):
    """Takes the guard out of every second block of steps and measures blocks in CPU time.

    Args:
        guard: has not joined a trainer yet.
        steps: optimiser steps of a block.
    """

    def __init__(self, guard: FiniteGuard, steps: int) -> None:
        self.guard, self.steps = guard, steps
        self.blocks: list[float] = []
        self._parts: list[tuple[Any, str, Any, Any]] = []  # object, name, without and with
        self._since, self._count = 0.0, 0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Join the guard, and keep what it replaces."""
        loop, plugin = trainer.fit_loop.epoch_loop, trainer.precision_plugin
        places = [
            (loop.automatic_optimization, "run"), (loop.manual_optimization, "run"),
            (loop, "update_lr_schedulers"), (plugin, "_after_closure"),
            (plugin, "clip_grad_by_norm"),
        ]  # fmt: skip
        before = [getattr(*place) for place in places]
        self.guard.setup(trainer, pl_module, stage)
        self._parts = [
            (*place, old, getattr(*place)) for place, old in zip(places, before, strict=True)
        ]
        self._parts += [(self.guard, name, None, getattr(self.guard, name)) for name in HOOKS]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._since = time.process_time()

    def on_train_batch_end(self, *_: Any) -> None:
        self._count += 1
        if self._count % self.steps:
            return
        self.blocks.append(time.process_time() - self._since)
        for part, name, without, present in self._parts:
            setattr(part, name, present if len(self.blocks) % 2 == 0 else without)
        self._since = time.process_time()


@pytest.mark.parametrize(
    ("recipe", "words", "steps", "most"),
    [
        ("vae/mnist", ["trainer.max_epochs=100"], 100, 0.03),
        # a step of a small batch: in the recipe's own, the same check is a smaller part
        ("simclr/cifar10", ["data.batch_size=64", "trainer.max_epochs=100"], 1, 0.01),
    ],
)
def test_the_check_costs_little(
    recipe: str, words: list[str], steps: int, most: float, data_root: Path, tmp_path: Path
) -> None:
    """At most this part of a step: the median of ten pairs of blocks."""
    torch.set_num_threads(1)
    keep_freed_memory()
    quiet = ["trainer.accelerator=cpu", "trainer.callbacks=[]", "trainer.limit_val_batches=0"]
    quiet += [f"trainer.max_steps={2 * steps * (PAIRS + 1)}", f"data.root={data_root}"]
    quiet += ["checkpoint.every_n_seconds=1e9", "checkpoint.monitor=null"]
    lab = build(recipes.resolve([recipe], [*quiet, *words]), tmp_path)
    callbacks: list[Any] = lab.trainer.callbacks  # type: ignore[attr-defined]
    (guard,) = [one for one in callbacks if isinstance(one, FiniteGuard)]
    switch = Switch(guard, steps)
    lightning_parts.add_first(lab.trainer, switch)
    lab.trainer.fit(lab.model, datamodule=lab.data)
    blocks = switch.blocks[2:]
    costs = sorted(a / b - 1 for a, b in zip(blocks[::2], blocks[1::2], strict=True))
    middle = statistics.median(costs)
    print(
        f"\n{recipe}: a step takes {1000 * statistics.median(blocks[1::2]) / steps:.2f} ms of CPU "
        f"time; the check {middle:+.2%} (median of {PAIRS} pairs of blocks of {steps}; "
        f"{costs[1]:+.2%} ... {costs[-2]:+.2%} contains it with 98 %)"
    )
    assert middle <= most
