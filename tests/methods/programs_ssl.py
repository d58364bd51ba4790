"""The self-supervised methods at small size, and programs that run on one process and on two."""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import LambdaCallback
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from genlab import distributed
from genlab.data import Digits
from genlab.methods.byol import BYOL
from genlab.methods.moco import MoCo
from genlab.methods.moco_v3 import MoCoV3
from genlab.methods.simclr import SimCLR
from genlab.methods.simsiam import SimSiam
from tests.callbacks.tiny import trainer

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


def small(name: str, network: dict[str, Any] = CNN, **options: Any) -> Any:
    """A method with few weights, always the same ones."""
    kind, own = METHODS[name]
    torch.manual_seed(1)
    return kind(**network | own | options)


def pairs(n: int = 8, steps: int = 1) -> list[dict[str, Any]]:
    """Batches of two views of ``n`` images."""
    drawn = torch.rand(steps, 2, n, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    return [{"views": list(views)} for views in drawn]


class _Step(nn.Module):
    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        return self.method.training_step(batch, 0)


def three_steps(method: Any, rank: int, world: int, **ddp: Any) -> dict[str, Any]:
    """Losses, gradients of every step and the whole state, in float64."""
    step: Any = _Step(method.double())
    if world > 1:
        step = DistributedDataParallel(step, **ddp)
    trained = {n: p for n, p in method.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(trained.values(), 0.5, momentum=0.9)
    figures, gradients = [], []
    for batch in pairs(8, 3):
        share = {"views": [view[rank::world].double() for view in batch["views"]]}
        optimizer.zero_grad()
        loss = step(share)["loss"]
        loss.backward()
        gradients.append({n: p.grad.clone() for n, p in trained.items() if p.grad is not None})
        optimizer.step()
        method.after_step()
        figures.append(distributed.all_reduce_sum(loss.detach()) / world)
    return {"loss": torch.stack(figures), "grad": gradients, "state": dict(method.state_dict())}


def grouped(rank: int, world: int) -> Any:
    """MoCo with batch norm over each rank's share, or over two such groups on one process.

    The shuffled keys too: the permutation is that of rank zero. Running statistics are the mean of
    the groups', so they are compared as the mean of the ranks'. In ``shuffled``, without batch
    norm, keys encoded on the other rank must come back to their places.
    """
    shuffled = small("moco", VIT)
    shuffled.shuffle_bn = world > 1
    found = {"shuffled": three_steps(shuffled, rank, world)}
    for name in ("moco", "moco_symmetric"):
        method = small(name, bn_splits=2 // world)
        found[name] = three_steps(method, rank, world, broadcast_buffers=False)
        state = found[name]["state"]
        for key in [key for key in state if "running_" in key]:
            state[key] = distributed.all_reduce_sum(state[key]) / world
    return found


def queue_of_ranks(rank: int, world: int) -> Any:
    """The queue after one step of the trainer; ranks that start from different ones.

    Once training has begun rank 1 changes a key that the step does not replace.
    """
    method = small("moco", optimizer={"name": "torch.sgd", "lr": 0.1})
    method.queue.keys.add_(rank)
    mark = LambdaCallback(on_train_start=lambda *_: method.queue.keys[40].fill_(rank))
    options: dict[str, Any] = {"max_steps": 1, "limit_val_batches": 0}
    if world > 1:
        os.environ |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "NODE_RANK": "0"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
        options |= {"strategy": "ddp", "devices": world}
    with tempfile.TemporaryDirectory() as folder:
        run = trainer(Path(folder), mark, enable_checkpointing=False, **options)
        run.fit(method, datamodule=Digits(batch_size=32, val_size=100, views="simclr", seed=3))
    return dict(method.queue.state_dict())


def same_state(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Names that differ, by a bit at least."""
    names = itertools.chain(one, (n for n in other if n not in one))
    return [n for n in names if n not in one or n not in other or not torch.equal(one[n], other[n])]
