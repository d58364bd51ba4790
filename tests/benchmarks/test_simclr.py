"""SimCLR with ResNet-18: what the lab's step costs over the network's own arithmetic."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import torch.nn.functional as F

from genlab import recipes

pytestmark = [pytest.mark.benchmarks, pytest.mark.filterwarnings("default")]
IMAGES, STEPS, ROUNDS = 64, 2, 3


def fit_once(data_root: Path, folder: Path) -> tuple[float, Any]:
    """Process CPU seconds of a step of simclr/cifar10 in the real fit loop, and the lab."""
    from genlab.training.building import build

    words = [
        f"data.batch_size={IMAGES}", f"data.root={data_root}", f"trainer.max_steps={STEPS + 1}",
        "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.limit_val_batches=0",
        "trainer.num_sanity_val_steps=0", "trainer.sync_batchnorm=false", "track.wandb=off",
    ]  # fmt: skip
    lab = build(recipes.resolve(["simclr/cifar10"], words), folder)
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    marks: list[float] = []

    class Clock(L.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            marks.append(time.process_time())

    lab.trainer.callbacks.append(Clock())  # type: ignore[attr-defined]
    lab.trainer.fit(lab.model, datamodule=lab.data)
    return (marks[STEPS] - marks[0]) / STEPS, lab


def bare_once(lab: Any) -> float:
    """Process CPU seconds of forward, backward and the same optimiser, on images at hand."""
    network = torch.nn.Sequential(lab.model.encoder, lab.model.projector).train()
    optimizer = lab.trainer.optimizers[0]
    x, start = torch.rand(2 * IMAGES, 3, 32, 32), 0.0
    for step in range(STEPS + 1):
        start = time.process_time() if step == 1 else start
        optimizer.zero_grad()
        z = F.normalize(network(x))
        logits = (z @ z.T / 0.5).fill_diagonal_(float("-inf"))
        F.cross_entropy(logits, torch.arange(len(z)).roll(IMAGES)).backward()
        optimizer.step()
    return (time.process_time() - start) / STEPS


def test_a_resnet_step_costs_what_the_network_costs(data_root: Path, tmp_path: Path) -> None:
    """Loader, views, loss, LARS, callbacks and the Trainer together: a few per cent."""
    torch.set_num_threads(1)
    fits, bares = [], []
    for number in range(ROUNDS):
        seconds, lab = fit_once(data_root, tmp_path / str(number))
        fits.append(seconds)
        bares.append(bare_once(lab))
    ratios = [fit / bare for fit, bare in zip(fits, bares, strict=True)]
    fit, bare = min(fits), min(bares)  # a busy machine only ever adds
    print(
        f"\nSimCLR, ResNet-18, {IMAGES} images of 32 px: fit {fit:.2f} s of CPU time a step, bare "
        f"{bare:.2f}; {fit / bare:.3f}x (best of {ROUNDS}; round by round {min(ratios):.3f} ... "
        f"{max(ratios):.3f})"
    )
    assert fit / bare <= 1.05
