"""Methods that train on a CPU and fail, wait or stop on GPUs, each in one way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric

from genlab import distributed
from genlab.augment.pairs import pair
from genlab.contracts import Batch
from genlab.methods.simclr import SimCLR

Step = dict[str, Tensor]


class MakesAConstant(SimCLR):
    """Weighs embeddings by a constant that it makes on the CPU."""

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        z = self.embed(pair(batch)[0])
        weight = torch.linspace(0, 1, z.shape[1])
        return {"loss": (z * weight).mean()}


class HasAnAttribute(SimCLR):
    """Keeps its weights in a tensor that is no buffer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.weight = torch.ones(kwargs["projector_dims"][-1])

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        return {"loss": (self.embed(pair(batch)[0]) * self.weight).mean()}


class HasAWideBuffer(SimCLR):
    """Scales its loss by a buffer of NumPy's type."""

    scale: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("scale", torch.ones(1, dtype=torch.float64))

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        out = super().training_step(batch, batch_idx)
        return {"loss": (out["loss"] * self.scale).float().sum()}


class ComputesInDouble(SimCLR):
    """Computes its loss in double precision."""

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        return {"loss": self.embed(pair(batch)[0]).double().square().mean().float()}


class GathersTwice(SimCLR):
    """Gathers what it has gathered: every rank gets N^2 batches."""

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        every = distributed.gather(self.embed(pair(batch)[0]))
        return {"loss": distributed.gather(every).square().mean()}


class ComparesAllWithAll(SimCLR):
    """Computes all N x N similarities on every rank, of which it needs its own rows."""

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        every = distributed.gather(self.embed(pair(batch)[0]))
        return {"loss": (every @ every.T).exp().mean()}


class ReadsItsLoss(SimCLR):
    """Asks whether its loss is finite."""

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        out = super().training_step(batch, batch_idx)
        return out if float(out["loss"].detach()) > 0 else {"loss": out["loss"] * 0}


class PicksByMask(SimCLR):
    """Takes the embeddings that have a positive sum."""

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        z = self.embed(pair(batch)[0])
        return {"loss": z[z.sum(1) > 0].square().mean()}


class ReadsOnTheWayBack(SimCLR):
    """Looks at a gradient in a hook."""

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        z = self.embed(pair(batch)[0])
        z.register_hook(self.look)
        return {"loss": z.square().mean()}

    def look(self, gradient: Tensor) -> Tensor | None:
        return gradient * 2 if bool(gradient.isnan().any()) else None


class RankZeroAlone(SimCLR):
    """Sums a figure over ranks on rank zero only."""

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        out = super().training_step(batch, batch_idx)
        if distributed.rank() == 0:
            out["sum"] = distributed.all_reduce_sum(out["loss"].detach())
        return out


class RankOneAlone(SimCLR):
    """Sums a figure over ranks on rank one only."""

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        out = super().training_step(batch, batch_idx)
        if distributed.rank() == 1:
            out["sum"] = distributed.all_reduce_sum(out["loss"].detach())
        return out


class ReadsAfterItsStep(SimCLR):
    """Writes its loss down when a batch is over."""

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.last = float(outputs["loss"])


class StacksANumber(SimCLR):
    """Puts a number of the CPU beside its loss."""

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        z = self.embed(pair(batch)[0])
        return {"loss": torch.stack([z.square().mean(), torch.tensor(2.0)]).sum()}


class ShufflesOnTheCpu(SimCLR):
    """Permutes embeddings by an index that is drawn on the CPU."""

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        z = self.embed(pair(batch)[0])
        return {"loss": (z * z[torch.randperm(len(z))]).mean()}


class CopiesAConstant(SimCLR):
    """Makes a constant of Python's numbers on its device in every step."""

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        z = self.embed(pair(batch)[0])
        return {"loss": (z.mean() * torch.tensor([0.5, 2.0], device=z.device)).sum()}


class KeepsItsLoss(SimCLR):
    """Writes its loss down, as a number and as an array."""

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        out = super().training_step(batch, batch_idx)
        self.last = float(out["loss"].detach())
        self.past = out["loss"].detach().cpu().numpy()
        return out


class MakesMetrics(SimCLR):
    """Measures each step anew."""

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        out = super().training_step(batch, batch_idx)
        for _ in range(20):
            mean = MeanMetric()
            mean.update(out["loss"].detach())
            mean.reset()
        return out


class CountsByMask(SimCLR):
    """Divides by the number of embeddings that have a positive sum."""

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        z = self.embed(pair(batch)[0])
        return {"loss": z.square().sum() / len((z.sum(1) > 0).nonzero())}


class RefusesALoss(SimCLR):
    """Stops at a loss above 0.5."""

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        out = super().training_step(batch, batch_idx)
        if out["loss"].item() > 0.5:
            raise ValueError("too large")
        return out
