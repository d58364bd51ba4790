"""LeJEPA: views predict the mean of an image's large views, and embeddings are kept Gaussian.

Balestriero, LeCun 2025, arXiv:2511.08544; reference code rbalestr-lab/lejepa.
Departures: directions depend on the batch's seed instead of a step counter, so that they are the
same on all processes and after a resumption without a state; they are other ones on other devices.

On several devices set ``trainer.sync_batchnorm``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import distributed, losses, networks, optim
from genlab.augment.draws import generator
from genlab.augment.pairs import crops, large
from genlab.contracts import Batch
from genlab.losses.isotropy import GRIDS
from genlab.metrics import log_steps
from genlab.metrics.embedding import moments, similarities
from genlab.networks.chunks import check_chunks, in_chunks
from genlab.networks.multicrop import check_sizes
from genlab.networks.split_batch_norm import split_batch_norm

STREAM = 96  # of the batch's seed
ZERO = {"paper": 0.409, "repository": 0.402}  # SIGReg of a single embedding that is 0


class LeJEPA(L.LightningModule):
    """Prediction between views with SIGReg: no teacher, no stop-gradient, no negatives.

    SIGReg grows with the number of images of the global batch, so ``sigreg_weight`` belongs to a
    batch size. Gradient accumulation does not enlarge the batch; ``chunks`` does.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of f; see `networks.encoder`.
        projector_dims: hidden widths and output width D of the projector. Its output is not
            normalised: length one cannot be Gaussian.
        projector_norm: ``batch``, ``layer`` or null, between its layers.
        sigreg_weight: lambda; weighs SIGReg, and 1 - lambda the invariance.
        directions: M, number of random directions, drawn anew for each batch.
        grid: points of SIGReg's integral, those of the ``paper`` or of the ``repository``.
        chunks: number of parts in which a process embeds its images; the gradient is that of the
            whole batch, the memory that of one part. Batch norm requires ``bn_splits``.
        bn_splits: number of groups per process in which batch statistics are computed; a multiple
            of ``chunks``.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss (1, lower): (1 - lambda) invariance + lambda SIGReg.
        train/loss_invariance (1, lower): squared distance of all views' embeddings from the mean of
            the image's large views; mean over components, views and images.
        train/loss_sigreg (1, lower): distance of the batch's embeddings from the standard normal,
            mean over views; about 1.05 when they are normal, 0.4 times the number of images when
            they are all 0.

    Raises:
        ValueError: an argument is out of its range, or an unknown encoder.
    """

    configure_callbacks = log_steps
    healthy_scale = 1.0  # standard deviation of a component that the loss aims at
    law_exceptions: ClassVar = {"repeat": "SIGReg is proportional to the number of images"}

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        projector_dims: Sequence[int] = (2048, 2048, 64),
        projector_norm: str | None = "batch",
        sigreg_weight: float = 0.05,
        directions: int = 1024,
        grid: str = "repository",
        chunks: int = 1,
        bn_splits: int = 1,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if not 0 <= sigreg_weight <= 1:
            raise ValueError(f"sigreg_weight {sigreg_weight} must be in [0, 1]")
        if directions < 1:
            raise ValueError(f"directions {directions} must be at least 1")
        if grid not in GRIDS:
            raise ValueError(f"unknown grid {grid!r}; choose from {', '.join(GRIDS)}")
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.projector = networks.mlp(self.encoder.out_dim, *projector_dims, norm=projector_norm)
        split_batch_norm(bn_splits, self.encoder, self.projector)
        self.chunks = check_chunks(chunks, self.encoder, self.projector)
        self.sigreg_weight, self.grid = sigreg_weight, grid
        self.sketch = projector_dims[-1], directions  # D, M

    def on_fit_start(self) -> None:
        """Refuse views that the encoder cannot take."""
        check_sizes(self.encoder, self.trainer)

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F), before the projector."""
        return self.encoder(image)

    def embed(self, image: Tensor) -> Tensor:
        """Embeddings that the loss compares: (B, C, H, W) -> (B, D)."""
        return self.projector(self.encoder(image))

    def directions(self, batch: Batch, device: torch.device) -> Tensor:
        """Random columns of length one, (D, M), the same on all processes."""
        seed = batch.get("seed")
        source = generator(seed, device, STREAM) if seed is not None else None
        drawn = torch.randn(self.sketch, generator=source, device=device)
        drawn = drawn if seed is not None else distributed.broadcast(drawn)  # data from elsewhere
        return F.normalize(drawn, dim=0)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Invariance and SIGReg, weighted; a mean over views."""
        views = crops(batch)  # V x (B, C, h, w)
        stacked = in_chunks(views, self.encoder, self.projector, chunks=self.chunks)  # (V B, D)
        z = stacked.to(torch.promote_types(stacked.dtype, torch.float32)).chunk(len(views))  # fp32
        centre = torch.stack([z[k] for k in large(views)]).mean(0)  # (B, D), with gradient
        invariance = torch.stack([(view - centre).square().mean() for view in z]).mean()
        u = self.directions(batch, stacked.device)  # (D, M)
        sigreg = torch.stack([losses.sigreg(view, u, self.grid) for view in z]).mean()
        loss = (1 - self.sigreg_weight) * invariance + self.sigreg_weight * sigreg
        terms = {"loss": loss, "loss_invariance": invariance, "loss_sigreg": sigreg}
        return terms | moments(stacked) | similarities(z[0], z[1])

    def collapsed_loss(self, images: int) -> float:
        """Loss of embeddings that are all 0, for a global batch of ``images``."""
        return self.sigreg_weight * images * ZERO[self.grid]

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Output for callbacks: ``feature`` (B, F) and ``embedding`` (B, D) of unaltered images."""
        h = self.encoder(batch["image"])
        return {"feature": h, "embedding": self.projector(h)}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])
