"""What the lab costs a step, against a bare loop; ``make bench`` on an otherwise idle machine."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from genlab import recipes

pytestmark = [pytest.mark.benchmarks, pytest.mark.filterwarnings("default")]
STEPS, ROUNDS = 400, 6


def fit_once(recipe: recipes.Recipe, folder: Path) -> tuple[float, Any]:
    """Process CPU seconds of STEPS optimiser steps of the real fit loop, and the lab."""
    from genlab.cli.build import build

    lab = build(recipe, folder)
    lab.data.trainer = lab.trainer
    lab.data.setup("fit")
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    lab.trainer.loggers = lab.tracking.loggers(folder, recipe.name, lab.config)
    marks: dict[int, float] = {}

    class Clock(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
            if trainer.global_step in (50, STEPS + 50):
                marks[trainer.global_step] = time.process_time()

    lab.trainer.callbacks.append(Clock())  # type: ignore[attr-defined]
    lab.trainer.fit(lab.model, datamodule=lab.data)
    return marks[STEPS + 50] - marks[50], lab


def bare_once(lab: Any) -> float:
    """Process CPU seconds of the same steps in plain PyTorch: network, data and optimiser alike."""
    source, rows = lab.data._parts["train"]
    images = source.images[rows]
    encoder, decoder = lab.model.encoder, lab.model.decoder
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    size, start = lab.data.batch_size, 0.0
    order = torch.randperm(len(images))
    for step in range(STEPS + 50):
        if step == 50:
            start = time.process_time()
        at = step * size % (len(order) - size)
        x = images[order[at : at + size]].float() / 255
        x = (torch.rand_like(x) < x).float()
        mean, logvar = encoder(x).chunk(2, 1)
        z = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
        bce = torch.nn.functional.binary_cross_entropy_with_logits
        reconstruction = bce(decoder(z), x, reduction="sum") / size
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum() / size
        optimizer.zero_grad()
        (reconstruction + kl).backward()
        optimizer.step()
    return time.process_time() - start


def test_vae_mnist_costs_little_more_than_a_bare_loop(data_root: Path, tmp_path: Path) -> None:
    """At most 1.5 ms of CPU time a step more, all metrics of the recipe recorded."""
    torch.set_num_threads(1)
    os.environ["WANDB_MODE"] = "offline"
    words = [f"trainer.max_steps={STEPS + 50}", f"data.root={data_root}", "trainer.accelerator=cpu"]
    fits, bares = [], []
    for number in range(ROUNDS):
        seconds, lab = fit_once(recipes.resolve(["vae/mnist"], words), tmp_path / str(number))
        fits.append(1000 * seconds / STEPS)
        bares.append(1000 * bare_once(lab) / STEPS)
    extra = statistics.median(f - b for f, b in zip(fits, bares, strict=True))
    fit, bare = statistics.median(fits), statistics.median(bares)
    print(
        f"\nvae/mnist: fit {fit:.2f} ms a step, bare {bare:.2f}: {fit / bare:.2f}x, +{extra:.2f} ms"
    )
    assert extra <= 1.5
