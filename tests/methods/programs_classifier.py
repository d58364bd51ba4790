"""Programs for the comparison of one process with two (see tests/conftest.py)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from genlab import distributed
from genlab.contracts import Batch
from genlab.methods.classifier import Classifier


class _Step(torch.nn.Module):
    def __init__(self, method: Classifier) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.method.training_step(batch, 0)


def method() -> Classifier:
    """A ViT of 5,000 parameters without batch norm; classes of unlike weight, and a flood."""
    torch.manual_seed(1)
    return Classifier(
        4,
        1,
        8,
        encoder="vit_tiny_patch16_224",
        encoder_kwargs={"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 4},
        loss="focal",
        class_weights=[1.0, 4.0, 0.2, 1.0],
        label_smoothing=0.1,
        flooding=1.0,
    )


def batches(world: int, rank: int) -> list[Batch]:
    """Three of 8 images; what is unlabelled lies on rank 0 alone."""
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(3, 8, 1, 8, 8, generator=generator)
    label = torch.tensor([-1, 0, -1, 1, 2, 3, -1, 1])
    return [{"image": image[rank::world], "label": label[rank::world]} for image in images]


def three_steps(rank: int, world: int) -> dict[str, Any]:
    """Losses, accuracies, last gradients and weights."""
    trained = method()
    step: torch.nn.Module = _Step(trained)
    if world > 1:
        step = DistributedDataParallel(step)
    optimizer = torch.optim.SGD(trained.parameters(), 0.3, momentum=0.9)
    figures = []
    for batch in batches(world, rank):
        optimizer.zero_grad()
        out = step(batch)
        out["loss"].backward()
        optimizer.step()
        figures.append(torch.stack([v.detach() for v in out.values()]))
    mean = distributed.all_reduce_sum(torch.stack(figures)) / world
    gradients = {name: p.grad for name, p in trained.named_parameters()}
    return {"figures": mean, "gradients": gradients, "weights": dict(trained.state_dict())}


def reported(rank: int, world: int) -> dict[str, Tensor]:
    """What a test of 24 images says."""
    tested = method().eval()
    with torch.no_grad():
        for batch in batches(world, rank):
            tested.test_step(batch, 0)
    report = tested.class_report
    found = report.compute("test")
    assert report.confusion is not None
    return found | {"confusion": report.confusion}
