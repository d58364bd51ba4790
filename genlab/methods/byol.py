"""BYOL: predict the embedding that a slowly moving copy of the network gives the other view.

Grill et al. 2020, arXiv:2006.07733; reference code deepmind/deepmind-research/byol.
Departure: the last map of projector and predictor has a bias.

On several devices set ``trainer.sync_batchnorm``, as the reference does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from genlab import losses, networks, optim
from genlab.augment.pairs import pair
from genlab.contracts import Batch
from genlab.metrics import log_steps
from genlab.metrics.embedding import similarities
from genlab.networks.ema import cosine_to_one, ema_copy, ema_step


class BYOL(L.LightningModule):
    """An online network with a predictor, and a target network that follows it.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of f; see `networks.encoder`.
        projector_dims: hidden widths and output width D of the projector g.
        predictor_dims: hidden widths and output width D of the predictor q, of the online network
            only; null omits it, to see the collapse.
        head_norm: ``batch``, ``layer`` or null, between the layers of both.
        ema_decay: tau of the target at the start; it rises to 1 along a cosine.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss (squared distance, lower): 2 - 2 cos(prediction, target), mean over the batch,
            sum of both directions: 0 to 8.

    Raises:
        ValueError: an argument is out of its range, or an unknown encoder.
    """

    configure_callbacks = log_steps

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        projector_dims: Sequence[int] = (4096, 256),
        predictor_dims: Sequence[int] | None = (4096, 256),
        head_norm: str | None = "batch",
        ema_decay: float = 0.996,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if not 0 <= ema_decay <= 1:
            raise ValueError(f"ema_decay must be in [0, 1], got {ema_decay}")
        if predictor_dims is not None and projector_dims[-1] != predictor_dims[-1]:
            raise ValueError("projector_dims and predictor_dims must end in the same width")
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.projector = networks.mlp(self.encoder.out_dim, *projector_dims, norm=head_norm)
        self.predictor: nn.Module = nn.Identity()
        if predictor_dims is not None:
            self.predictor = networks.mlp(projector_dims[-1], *predictor_dims, norm=head_norm)
        self.encoder_ema, self.projector_ema = ema_copy(self.encoder), ema_copy(self.projector)
        self.ema_decay = ema_decay

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F), before the projector."""
        return self.encoder(image)

    def embed(self, image: Tensor) -> Tensor:
        """Through the trained projector: (B, C, H, W) -> (B, D)."""
        return self.projector(self.encoder(image))

    @torch.no_grad()
    def target(self, image: Tensor) -> Tensor:
        """Through the target network: (B, C, H, W) -> (B, D)."""
        return self.projector_ema(self.encoder_ema(image))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """2 - 2 cos between prediction and target, the sum of both directions, batch mean."""
        view1, view2 = pair(batch)  # 2 x (B, C, H, W)
        z1, z2 = self.embed(view1), self.embed(view2)  # 2 x (B, D)
        p1, p2 = self.predictor(z1), self.predictor(z2)  # 2 x (B, D)
        t1, t2 = self.target(view1), self.target(view2)  # 2 x (B, D), no gradient
        loss = losses.normalised_distance(p1, t2) + losses.normalised_distance(p2, t1)
        return {"loss": loss} | similarities(p1, t2)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Output for callbacks: ``feature`` (B, F) and ``embedding`` (B, D) of unaltered images."""
        h = self.encoder(batch["image"])  # (B, F)
        return {"feature": h, "embedding": self.projector(h)}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The target moves once per optimiser step, whatever the gradient accumulation."""
        super().optimizer_step(*args, **kwargs)
        self.after_step(self.global_step, optim.total_steps(self))

    def after_step(self, step: int, total: float) -> None:
        """Move the target after optimiser step ``step`` (from 0) of ``total``."""
        decay = cosine_to_one(self.ema_decay, step, total)
        ema_step(self.encoder_ema, self.encoder, decay)
        ema_step(self.projector_ema, self.projector, decay)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])
