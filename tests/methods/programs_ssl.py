"""The self-supervised methods at small size, and programs that run on one process and on two."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from genlab import distributed
from genlab.methods.byol import BYOL
from genlab.methods.moco import MoCo
from genlab.methods.moco_v3 import MoCoV3
from genlab.methods.simclr import SimCLR
from genlab.methods.simsiam import SimSiam

IMAGES: dict[str, Any] = {"channels": 1, "image_size": 8}
CNN: dict[str, Any] = IMAGES | {"encoder": "small_cnn", "encoder_kwargs": {"width": 4}}
VIT: dict[str, Any] = IMAGES | {
    "encoder": "vit_tiny_patch16_224",
    "encoder_kwargs": {"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 4},
}
HEADS: dict[str, Any] = {"projector_dims": [12, 6], "predictor_dims": [8, 6]}
METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "simclr": (SimCLR, {"projector_dims": [12, 6]}),
    "moco": (MoCo, {"projector_dims": [12, 6], "queue_size": 50, "ema_decay": 0.9}),
    "moco_symmetric": (
        MoCo,
        {"projector_dims": [6], "queue_size": 64, "ema_decay": 0.9, "symmetric": True},
    ),
    "moco_v3": (MoCoV3, HEADS | {"ema_decay": 0.9}),
    "byol": (BYOL, HEADS | {"ema_decay": 0.9}),
    "simsiam": (SimSiam, HEADS),
}
NORM_FREE: dict[str, dict[str, Any]] = {
    "simclr": {"projector_norm": "layer"},
    "moco": {},
    "moco_symmetric": {},
    "moco_v3": {"head_norm": "layer"},
    "byol": {"head_norm": "layer"},
    "simsiam": {"head_norm": "layer"},
}


def small(name: str, network: dict[str, Any] = CNN, **options: Any) -> Any:
    """A method with few weights, always the same ones."""
    kind, own = METHODS[name]
    torch.manual_seed(1)
    return kind(**network | own | options)


def pairs(n: int = 8, steps: int = 1) -> list[dict[str, Any]]:
    """Batches of two views of ``n`` images."""
    drawn = torch.rand(steps, 2, n, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    return [{"views": list(views)} for views in drawn]


def after_step(method: Any, step: int, total: int) -> None:
    """What a method does after an optimiser step, without a trainer."""
    if isinstance(method, MoCo):
        method.after_step()
    elif hasattr(method, "after_step"):
        method.after_step(step, total)


class _Step(nn.Module):
    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        return self.method.training_step(batch, 0)


def three_steps(name: str, rank: int, world: int, shuffle: bool = False) -> dict[str, Any]:
    """Losses, gradients of every step and the whole state, of a network without batch norm."""
    method = small(name, VIT, **NORM_FREE[name])
    if shuffle:
        method.shuffle_bn = True
    step: Any = _Step(method) if world == 1 else DistributedDataParallel(_Step(method))
    trained = {n: p for n, p in method.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(trained.values(), 0.5, momentum=0.9)
    figures, gradients = [], []
    for count, batch in enumerate(pairs(8, 3)):
        share = {"views": [view.chunk(world)[rank] for view in batch["views"]]}
        optimizer.zero_grad()
        loss = step(share)["loss"]
        loss.backward()
        gradients.append({n: p.grad.clone() for n, p in trained.items() if p.grad is not None})
        optimizer.step()
        after_step(method, count, 3)
        figures.append(distributed.all_reduce_sum(loss.detach()) / world)
    return {"loss": torch.stack(figures), "grad": gradients, "state": dict(method.state_dict())}


def every(rank: int, world: int) -> Any:
    """`three_steps` of all methods; the symmetric queue as a set, its order is that of the ranks.

    In ``shuffled``, keys encoded on the other rank must come back to their places.
    """
    found = {name: three_steps(name, rank, world) for name in METHODS}
    found["shuffled"] = three_steps("moco", rank, world, shuffle=world > 1)
    state = found["moco_symmetric"]["state"]
    state["queue.keys"] = state["queue.keys"][state["queue.keys"][:, 0].argsort()]
    return found


def same_state(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Names that differ, by a bit at least."""
    names = itertools.chain(one, (n for n in other if n not in one))
    return [n for n in names if n not in one or n not in other or not torch.equal(one[n], other[n])]
