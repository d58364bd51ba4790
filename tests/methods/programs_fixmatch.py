"""FixMatch at small size, and programs that run on one process and on two."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from genlab import distributed
from genlab.contracts import Batch
from genlab.methods.fixmatch import FixMatch
from genlab.networks.pseudo_label_rules import FlexThreshold

K, B, M = 4, 4, 12
IMAGES: dict[str, Any] = {"num_classes": K, "channels": 1, "image_size": 8}
CNN: dict[str, Any] = IMAGES | {"encoder": "small_cnn", "encoder_kwargs": {"width": 4}}
VIT: dict[str, Any] = IMAGES | {
    "encoder": "vit_tiny_patch16_224",
    "encoder_kwargs": {"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 4},
}
RULES: dict[str, dict[str, Any]] = {
    "fixmatch": {"threshold": 0.35},
    "pseudo_label": {"threshold": 0.35},
    "uda": {"threshold": 0.35, "align": "uniform"},
    "flexmatch": {"threshold": 0.35},
    "freematch": {"fairness": 0.5},
    "softmatch": {"align": "uniform"},
}


def small(rule: str = "fixmatch", network: dict[str, Any] = CNN, **options: Any) -> FixMatch:
    """A method with few weights, always the same ones, and statistics that move visibly."""
    torch.manual_seed(1)
    method = FixMatch(**network | {"rule": rule, "decay": 0.5} | RULES[rule] | options)
    if isinstance(method.rule, FlexThreshold):
        method.rule.begin(torch.arange(36))
    return method


def batches(steps: int = 1, share: slice = slice(None)) -> list[Batch]:
    """Of 4 labelled and 12 unlabelled images; ``share`` of each."""
    made: list[Batch] = []
    generator = torch.Generator().manual_seed(2)
    for step in range(steps):
        image, weak, strong = (
            torch.rand(n, 1, 8, 8, generator=generator)[share] for n in (B, M, M)
        )
        label = torch.arange(M) % (K + 1) - 1
        own = torch.arange(B)[share]
        labeled: Batch = {"image": image, "label": own, "index": own}
        unlabeled: Batch = {"views": [weak, strong], "label": label[share]}
        unlabeled["index"] = ((torch.arange(M) + 5 * step) % 36)[share]
        made.append({"labeled": labeled, "unlabeled": unlabeled, "seed": step})
    return made


class Step(nn.Module):
    """`training_step` as a forward pass, for DDP."""

    def __init__(self, method: FixMatch) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.method.training_step(batch, 0)


def train(method: FixMatch, given: list[Batch], world: int = 1) -> dict[str, Any]:
    """Figures and gradients of every step, and the state afterwards."""
    step: Any = Step(method) if world == 1 else DistributedDataParallel(Step(method))
    optimizer = torch.optim.SGD(method.parameters(), 0.5, momentum=0.9)
    figures, gradients = [], []
    for batch in given:
        optimizer.zero_grad()
        out = step(batch)
        out["loss"].backward()
        gradients.append(
            {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}
        )
        optimizer.step()
        method.after_step()
        figures.append(torch.stack([v.detach() for v in out.values()]))
    mean = distributed.all_reduce_sum(torch.stack(figures)) / world
    return {"figures": mean, "gradients": gradients, "state": dict(method.state_dict())}


def three_steps(rank: int, world: int) -> dict[str, Any]:
    """All rules, a network without batch norm; ranks hold every other image."""
    given = batches(3, slice(rank, None, world))
    found: dict[str, Any] = {}
    for rule in RULES:
        method = small(rule, VIT)
        found[rule] = train(method, given, world)
        counted = method.pseudo_labels.compute()
        found[rule]["pseudo"] = torch.cat([v.flatten() for v in counted.values()])
    return found
