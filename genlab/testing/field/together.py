"""Several processes of a GPU each, which must do what one does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import lightning as L
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from genlab import distributed
from genlab.testing.batches import Batch
from genlab.testing.dealing import EXACT, compare, dealt
from genlab.testing.field.measurement import Measurement, skipped, within
from genlab.testing.field.place import Place
from genlab.testing.field.steps import case_of
from genlab.testing.findings import worst
from genlab.testing.running import Outcome, statistics_over_all_ranks
from genlab.training.engine.sync_batch_norm import SyncBatchNorm

ONE = "one GPU: NCCL needs two"
ROWS = 12
NEAR = 1e-6  # in double precision


def ranks(place: Place, kind: str) -> Iterator[Measurement]:
    """Two processes with half the batch each do what one does, over NCCL; on a CPU over gloo."""
    if place.world < 2:
        yield skipped(kind, ONE)
        return
    case = case_of(kind)
    given = case.portable, case.fresh_data(), case.batches, case.double, not place.small
    one = share(0, 1, *given)
    with place.side():
        many = place.ranks().run(share, place.world, *given)
    found = [(*compare(outcome, one), rank) for rank, outcome in enumerate(many)]
    apart, where, rank = max(found)
    near = EXACT[case.double]
    yield within(kind, apart, near, f"{where}, rank {rank}" if apart > near else "")


def share(
    rank: int,
    world: int,
    make: Callable[[], L.LightningModule],
    data: L.LightningDataModule,
    batches: list[Batch],
    double: bool,
    gpu: bool,
) -> Outcome:
    """A few steps on this rank's share of every batch; the outcome's tensors are on the CPU."""
    options: dict[str, Any] = {"accelerator": "gpu", "devices": 1} if gpu else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = dealt(rank, world, make, data, batches, double, **options)
    found.losses = [loss.cpu() for loss in found.losses]
    found.gradients = [_here(step) for step in found.gradients]
    found.state = _here(found.state)
    return found


def sync(place: Place, subject: str) -> Iterator[Measurement]:
    """Batch norms of `trainer.sync_batchnorm` on two processes do what one does."""
    if place.world < 2:
        yield skipped(subject, ONE)
        return
    [one] = [normalised(0, 1, subject, not place.small)]
    with place.side():
        many = place.ranks().run(normalised, place.world, subject, not place.small)
    note = "a CPU has no synchronised norm of torch's: statistics are gathered"
    for part in one:
        apart = max(worst([("", {part: two[part]}, {part: one[part]})])[0] for two in many)
        yield within(f"{subject}, {part}", apart, NEAR, note if place.small else "")


def normalised(rank: int, world: int, subject: str, gpu: bool) -> dict[str, Tensor]:
    """Output, gradients and statistics of a small network, of the batch of all ranks."""
    torch.manual_seed(0)
    device = torch.device("cuda", rank) if gpu else torch.device("cpu")
    norm = NORMS[subject](6)
    network: nn.Module = nn.Sequential(nn.Conv2d(3, 6, 3), norm, nn.Conv2d(6, 4, 3), nn.Flatten())
    network = network.double().to(device)
    image = torch.randn(ROWS, 3, 8, 8, dtype=torch.double)[rank::world].to(device)
    if world > 1 and gpu:
        network = SyncBatchNorm().apply(network)
    with nullcontext() if gpu else statistics_over_all_ranks():
        out = network(image)
    out.square().sum().backward()
    gradient = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    rows = distributed.gather(out.detach())
    return _here({
        "output": distributed.interleave(rows) if world > 1 else rows,
        "gradient": distributed.all_reduce_sum(gradient),
        "statistics": torch.cat([b.flatten() for b in network.buffers() if b.is_floating_point()]),
    })  # fmt: skip


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch norm": nn.BatchNorm2d,
    "batch norm with activation": BatchNormAct2d,
}


def _here(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in tensors.items()}
