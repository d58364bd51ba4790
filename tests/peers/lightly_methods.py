"""Methods of genlab trained by lightly's losses, for studies that compare the two.

Encoder, heads, initial weights, views and optimiser are genlab's; losses and momentum copies are
lightly's, put together as in lightly's examples. Departure from those: SwAV's prototypes are a
layer without bias (lightly's ``SwaVPrototypes`` has one), and frozen as in genlab. A study imports
this module where lightly is installed: ``PYTHONPATH=. genlab study run fair_table/digits``.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from lightly.loss import (
    BarlowTwinsLoss,
    DINOLoss,
    NegativeCosineSimilarity,
    NTXentLoss,
    SwaVLoss,
    VICRegLoss,
)
from lightly.models.utils import normalize_weight, update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor
from torch.nn.functional import normalize

from genlab import methods
from genlab.augment.pairs import crops, large, pair
from genlab.contracts import Batch
from genlab.networks import multicrop


class SimCLR(methods.SimCLR):
    """NTXentLoss; see `genlab.methods.SimCLR`."""

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        z1, z2 = self.embed(torch.cat(pair(batch))).chunk(2)
        return {"loss": NTXentLoss(temperature=self.temperature)(z1, z2)}


class BarlowTwins(methods.BarlowTwins):
    """BarlowTwinsLoss; see `genlab.methods.BarlowTwins`."""

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        z1, z2 = (self.embed(view) for view in pair(batch))
        return {"loss": BarlowTwinsLoss(lambda_param=self.off_diagonal_weight)(z1, z2)}


class SimSiam(methods.SimSiam):
    """NegativeCosineSimilarity; see `genlab.methods.SimSiam`."""

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        criterion = NegativeCosineSimilarity()
        z1, z2 = (self.embed(view) for view in pair(batch))
        p1, p2 = self.predictor(z1), self.predictor(z2)
        return {"loss": (criterion(p1, z2.detach()) + criterion(p2, z1.detach())) / 2}


class BYOL(methods.BYOL):
    """NegativeCosineSimilarity and update_momentum; see `genlab.methods.BYOL`."""

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        criterion = NegativeCosineSimilarity()
        view1, view2 = pair(batch)
        p1, p2 = (self.predictor(self.embed(view)) for view in (view1, view2))
        loss = criterion(p1, self.target(view2)) + criterion(p2, self.target(view1))
        return {"loss": loss / 2}

    def after_step(self, step: int, total: float) -> None:
        momentum = cosine_schedule(step, int(total), self.ema_decay, 1)
        update_momentum(self.encoder, self.encoder_ema, momentum)
        update_momentum(self.projector, self.projector_ema, momentum)


class SwAV(methods.SwAV):
    """SwaVLoss without a queue; see `genlab.methods.SwAV`."""

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        if self.queues:
            raise ValueError("SwAV of lightly is compared without a queue: model.queue_size=0")
        views = crops(batch)
        places = large(views)
        normalize_weight(self.prototypes.weight)
        z = self.projector(torch.cat(multicrop.by_size(self.encoder, views)))
        scores = self.prototypes(normalize(z, dim=1)).chunk(len(views))
        high = [scores[i] for i in places]
        low = [one for i, one in enumerate(scores) if i not in places]
        options = self.temperature, self.sinkhorn_iterations, self.sinkhorn_temperature
        return {"loss": SwaVLoss(*options)(high, low)[0]}


class DINO(methods.DINO):
    """DINOLoss and update_momentum; see `genlab.methods.DINO`."""

    @cached_property
    def criterion(self) -> Any:
        """The loss, outside the modules: its centre is kept in genlab's, and so in checkpoints."""
        temperature = self.teacher_temperature
        return DINOLoss(len(self.centre), temperature, temperature, 0, self.temperature,
                        self.centre_decay).to(self.device)  # fmt: skip

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        views = crops(batch)
        z = self.projector(torch.cat(multicrop.by_size(self.encoder, views)))
        student = list(self.prototypes(z).chunk(len(views)))
        places = large(views)
        teacher = list(self.teach(torch.cat([views[i] for i in places])).chunk(len(places)))
        self.criterion.center.copy_(self.centre)
        loss = self.criterion(teacher, student, teacher_temp=self.temperature_now())
        self.centre.copy_(self.criterion.center.flatten())
        return {"loss": loss}

    def after_step(self, step: int, total: float) -> None:
        momentum = cosine_schedule(step, int(total), self.ema_decay, 1)
        for name in ("encoder", "projector", "prototypes"):
            update_momentum(getattr(self, name), getattr(self, f"{name}_ema"), momentum)


class VICReg(methods.VICReg):
    """VICRegLoss; see `genlab.methods.VICReg`."""

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        variance, invariance, covariance = self.weights
        criterion = VICRegLoss(invariance, variance, covariance)
        return {"loss": criterion(*(self.embed(view) for view in pair(batch)))}
