"""SimSiam: predict the other view's embedding, which is taken as a constant.

Chen & He 2020, arXiv:2011.10566; reference code facebookresearch/simsiam.
Departure: weight decay spares norms and biases (`optim.build`); the reference's falls on all.

On several devices set ``trainer.sync_batchnorm``, as the reference does.
For CIFAR-10 the paper has a projector of two layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import losses, networks, optim
from genlab.augment.pairs import pair
from genlab.contracts import Batch
from genlab.metrics import log_steps
from genlab.metrics.embedding import similarities


class SimSiam(L.LightningModule):
    """Siamese networks with a predictor and a stop-gradient: no negatives, no momentum encoder.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of f; see `networks.encoder`.
        projector_dims: hidden widths and output width D of the projector.
        predictor_dims: hidden widths and output width D of the predictor h.
        head_norm: ``batch``, ``layer`` or null, between the layers of both; ``batch`` also after
            the projector's last map.
        fix_predictor_lr: the predictor's learning rate follows no schedule.
        stop_gradient: false lets the gradient through the target too, to see the collapse.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss (cosine, lower): -cos(prediction, target), mean over the batch and of both
            directions: -1 to 1; -1 after a collapse too.

    Raises:
        ValueError: an argument is out of its range, or an unknown encoder.
    """

    configure_callbacks = log_steps

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        projector_dims: Sequence[int] = (2048, 2048, 2048),
        predictor_dims: Sequence[int] = (512, 2048),
        head_norm: str | None = "batch",
        fix_predictor_lr: bool = True,
        stop_gradient: bool = True,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if projector_dims[-1] != predictor_dims[-1]:
            raise ValueError("projector_dims and predictor_dims must end in the same width")
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.projector = networks.mlp(
            self.encoder.out_dim,
            *projector_dims,
            norm=head_norm,
            last_norm=head_norm == "batch",
        )
        self.predictor = networks.mlp(projector_dims[-1], *predictor_dims, norm=head_norm)
        self.stop_gradient = stop_gradient

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F), before the projector."""
        return self.encoder(image)

    def embed(self, image: Tensor) -> Tensor:
        """Through the trained projector: (B, C, H, W) -> (B, D)."""
        return self.projector(self.encoder(image))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Minus the cosine between prediction and target, mean of both directions and the batch."""
        view1, view2 = pair(batch)  # 2 x (B, C, H, W)
        z1, z2 = self.embed(view1), self.embed(view2)  # 2 x (B, D)
        p1, p2 = self.predictor(z1), self.predictor(z2)  # 2 x (B, D)
        loss = (losses.negative_cosine(p1, z2) + losses.negative_cosine(p2, z1)) / 2
        if not self.stop_gradient:
            through = (losses.negative_cosine(z2, p1) + losses.negative_cosine(z1, p2)) / 2
            loss = loss + through - through.detach()  # same value, the targets' gradient too
        return {"loss": loss} | similarities(p1, z2)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Output for callbacks: ``feature`` (B, F) and ``embedding`` (B, D) of unaltered images."""
        h = self.encoder(batch["image"])  # (B, F)
        return {"feature": h, "embedding": self.projector(h)}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        fixed = {"fixed_lr": ["predictor"]} if self.hparams["fix_predictor_lr"] else {}
        return optim.build(self, fixed | (self.hparams["optimizer"] or {}))
