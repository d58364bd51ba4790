"""Methods that are wrong on purpose, each in one way, for the laws to find."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import distributed
from genlab.augment.pairs import pair
from genlab.contracts import Batch
from genlab.methods.byol import BYOL
from genlab.methods.moco import MoCo
from genlab.methods.simclr import SimCLR
from genlab.testing import Case


def turned(case: Case, kind: type[L.LightningModule]) -> Case:
    """The case with its method turned into one of ``kind``, which has the same parts."""
    for method in (case.method, case.plain):
        method.__class__ = kind
    return case


class GradientOfOneRank(SimCLR):
    """Divides its gradient by the number of processes."""

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        out, world = super().training_step(batch, batch_idx), distributed.world_size()
        return out | {"loss": out["loss"] / world + out["loss"].detach() * (1 - 1 / world)}


class MovesPerBatch(BYOL):
    """Moves its momentum copy at every batch, accumulated or not."""

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        super().after_step(self.global_step, self.trainer.estimated_stepping_batches)
        return super().training_step(batch, batch_idx)

    def after_step(self, step: int, total: float) -> None:
        """Nothing is left to do."""


class ForgetsItsQueue(MoCo):
    """Keeps its queue out of the checkpoint."""

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        every = super().state_dict(*args, **kwargs)
        return {name: value for name, value in every.items() if not name.startswith("queue.")}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        return super().load_state_dict(state_dict, strict=False, assign=assign)


class KnowsThePlace(SimCLR):
    """Its loss depends on where in the data set an image stands."""

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        out = super().training_step(batch, batch_idx)
        return out | {"loss": out["loss"] * (1 + batch["index"][0] / 1000)}


class LearnsLabels(SimCLR):
    """Learns from labels, and takes the number of classes as those do that may."""

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        self.hparams["num_classes"] = 10
        out = super().training_step(batch, batch_idx)
        return out | {"loss": out["loss"] * (1 + batch["label"].float().mean())}


class ReturnsInfinity(SimCLR):
    """Returns a figure that is not finite."""

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        out = super().training_step(batch, batch_idx)
        return out | {"inverse": 1 / (0 * out["loss"].detach())}


class ForgetsAnArgument(SimCLR):
    """Scales its features by a number that no hyper-parameter has."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scale = 2.0

    def forward(self, image: Tensor) -> Tensor:
        return self.encoder(image) * getattr(self, "scale", 1.0)


class VICReg(SimCLR):
    """Variance, invariance, covariance (Bardes, Ponce, LeCun 2022), over all processes."""

    def gathered(self, z: Tensor) -> Tensor:
        return distributed.gather(z)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        z1, z2 = self.embed(torch.cat(pair(batch))).chunk(2)
        loss = 25 * (z1 - z2).square().mean()
        for z in map(self.gathered, (z1, z2)):
            z = z - z.mean(0)
            covariance = z.T @ z / (len(z) - 1)
            spread = (covariance.diagonal() + 1e-4).sqrt()
            apart = covariance.square().sum() - covariance.diagonal().square().sum()
            loss = loss + 12.5 * (1 - spread).relu().mean() + apart / len(covariance)
        return {"loss": loss}


class VICRegWithoutGradient(VICReg):
    """Forgets the gradient through the gather of the other processes' rows."""

    def gathered(self, z: Tensor) -> Tensor:
        with torch.no_grad():
            every = distributed.gather(z).chunk(distributed.world_size())
        own = distributed.rank()
        return torch.cat([z if k == own else other for k, other in enumerate(every)])
