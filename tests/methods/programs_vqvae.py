"""Programs for the comparison of one process with two (see tests/conftest.py)."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from genlab import distributed
from genlab.methods.vqvae import VQVAE
from genlab.networks.autoencoders.scalar_quantizers import LookupFreeQuantizer
from tests.networks.flows import golden


class _Step(torch.nn.Module):
    """DDP wraps forward: here, the training step."""

    def __init__(self, method: VQVAE) -> None:
        super().__init__()
        self.method = method

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.method.training_step({"image": image}, 0)["loss"]


def three_steps(rank: int, world: int) -> dict[str, Any]:
    """Losses, gradients, weights and codebook after three steps of two micro-batches each."""
    torch.manual_seed(1)
    method = VQVAE(1, 8, 64, 4, hidden=16, downsamplings=1, ema_decay=0.6, restart_below=1.0)
    step: torch.nn.Module = _Step(method)
    if world > 1:
        step = DistributedDataParallel(step)
    optimizer = torch.optim.SGD(method.parameters(), 1e-3)
    data = torch.rand(3, 2, 8, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    losses, restarts = [], torch.tensor(0)
    for i, window in enumerate(data):
        torch.manual_seed(100 * i + rank)  # ranks draw different numbers, as in training
        for image in window:
            loss = step(image[rank::world]) / 2  # dealt out in turn, as the loaders do
            loss.backward()
            losses.append(loss.detach())
        optimizer.step()
        optimizer.zero_grad()
        method.quantizer.update()
        restarts = restarts + (method.quantizer.state_dict()["cluster_size"] == 1).sum()
    total = torch.stack(losses) / world
    if world > 1:
        torch.distributed.all_reduce(total)
    assert restarts > 0  # else the comparison would say nothing about them
    return {"loss": total, "state": dict(method.state_dict()), "restarts": restarts}


def batch_entropy(rank: int, world: int) -> dict[str, Any]:
    """LFQ's entropies of six rows, and their gradient, where ranks hold three each."""
    z = golden.first(6, 4)[:, :, None, None][rank::world].requires_grad_()
    quantizer = LookupFreeQuantizer(16, entropy_weight=1.0)
    found = quantizer(z)
    entropy = quantizer.terms(z, found)["entropy"]
    (slope,) = torch.autograd.grad(entropy.mean() / world, z)  # as DDP averages it
    entropies, slopes = (
        distributed.interleave(distributed.gather_rows(a)) for a in (entropy, slope)
    )
    places = quantizer.eval().terms(z, found)["entropy"]
    mean = distributed.gather_rows(places).mean() - entropies.mean()
    assert abs(float(mean.detach()) - 2.4647745512) < 2e-8
    return {"loss": entropies.detach(), "gradient": slopes}
