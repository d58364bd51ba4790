"""A small WGAN-GP, its training, and programs that run on one process and on two."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab.contracts import Batch
from genlab.data import Digits
from genlab.methods.wgan_gp import WGANGP
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer

NETWORKS: dict[str, Any] = {
    "channels": 1, "image_size": 8, "latent_dim": 4,
    "generator": "mlp", "critic": "mlp",
    "generator_kwargs": {"hidden_dims": [12]}, "critic_kwargs": {"hidden_dims": [12, 8]},
}  # fmt: skip
R3GAN: dict[str, Any] = {
    "objective": "relativistic", "constraint": "r1_r2", "penalty_weight": 0.5,
}  # fmt: skip
AUGMENT = ("color", "translation", "cutout")
ADAM: dict[str, Any] = {"name": "adam", "lr": 1e-2, "betas": [0, 0.9]}


def small(kind: type[WGANGP] = WGANGP, **options: Any) -> WGANGP:
    """A method with few weights, always the same ones."""
    torch.manual_seed(1)
    return kind(**NETWORKS | {"n_critic": 3, "optimizer": ADAM} | options)


def digits(batches: int = 10, **options: Any) -> Digits:
    """An epoch of ``batches`` batches of 16."""
    size: dict[str, Any] = {"batch_size": 16, "limit": 16 * batches, "val_size": 60}
    return Digits(**size | {"seed": 3} | options)


def fit(
    method: WGANGP, folder: Path, *callbacks: L.Callback, data: Any = None, **options: Any
) -> L.Trainer:
    """Train as the command line does; one epoch of ten batches, if nothing is said."""
    resume = options.pop("resume", None)
    options = {"max_epochs": 1} | options
    options["enable_checkpointing"] = any(isinstance(c, Checkpoints) for c in callbacks)
    run = trainer(folder, Reseed(), *callbacks, **options)
    weights_only = True if resume else None
    run.fit(method, datamodule=data or digits(), ckpt_path=resume, weights_only=weights_only)
    return run


class Double(WGANGP):
    """For ``precision="64-true"``, which leaves the loaders' bytes alone."""

    def to_critic(self, image: Tensor) -> Tensor:
        return super().to_critic(image.double())


class GivenNoise(Double):
    """Its noise and the penalty's place belong to the image, wherever it is trained."""

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        self.index = batch["index"]
        return super().training_step(batch, batch_idx)

    def noise(self, n: int) -> Tensor:
        if not self.training:
            return super().noise(n)
        return torch.sin(self.index[:, None] * torch.arange(1, 1 + self.hparams["latent_dim"]))

    def critic_loss(
        self, real: Tensor, label: Tensor, z: Tensor, share: Tensor, view: Tensor | None = None
    ) -> dict[str, Any]:
        return super().critic_loss(real, label, z, (1 + z[:, 0]) / 2, view)


def alternations(rank: int, world: int, **options: Any) -> dict[str, Any]:
    """Everything after ten alternations, of plain ``ddp`` where there are two ranks."""
    method = small(GivenNoise, n_critic=2, **options)
    chosen: dict[str, Any] = {"max_epochs": 2, "precision": "64-true"}
    if world > 1:
        os.environ |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "NODE_RANK": "0"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
        chosen |= {"strategy": "ddp", "devices": world}
    with tempfile.TemporaryDirectory() as folder:
        run = fit(method, Path(folder), **chosen)
    assert run.global_step == 10
    return dict(method.state_dict())


def every(rank: int, world: int) -> dict[str, Any]:
    """With the options that touch what DDP sees."""
    return {
        "plain": alternations(rank, world),
        "parts": alternations(rank, world, accumulate_grad_batches=3, gradient_clip_val=0.5),
        "classes": alternations(rank, world, condition="concat"),
        "hinge": alternations(rank, world, objective="hinge", constraint="spectral_norm"),
        "pairs": alternations(rank, world, **R3GAN, accumulate_grad_batches=2, augment=AUGMENT),
    }
