"""Programs for the comparison of one process with two (see tests/conftest.py)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from genlab.methods.vae import VAE


class GivenNoise(VAE):
    """A VAE whose noise belongs to the image, so that splitting the batch does not change it."""

    noise: Tensor

    def reparametrize(self, mean: Tensor, logvar: Tensor) -> Tensor:
        return mean + (0.5 * logvar).exp() * self.noise


class _Step(torch.nn.Module):
    def __init__(self, method: VAE) -> None:
        super().__init__()
        self.method = method

    def forward(self, image: Tensor) -> Tensor:
        return self.method.training_step({"image": image}, 0)["loss"]


def three_steps(rank: int, world: int) -> dict[str, Any]:
    """Losses, last gradients and weights after three steps on 8 images."""
    torch.manual_seed(1)
    method = GivenNoise(1, 8, 3, hidden_dims=[16], free_bits=0.1)
    step: torch.nn.Module = _Step(method)
    if world > 1:
        step = DistributedDataParallel(step)
    optimizer = torch.optim.Adam(method.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(3, 8, 1, 8, 8, generator=generator)
    noise = torch.randn(3, 8, 3, generator=generator)
    losses = []
    for image, eps in zip(images, noise, strict=True):
        method.noise = eps[rank::world]
        optimizer.zero_grad()
        loss = step(image[rank::world])
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    total = torch.stack(losses) / world
    if world > 1:
        torch.distributed.all_reduce(total)
    gradients = {name: p.grad for name, p in method.named_parameters()}
    return {"loss": total, "gradients": gradients, "weights": dict(method.state_dict())}
