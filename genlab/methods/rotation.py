"""Rotation: the encoder tells by how many quarter turns an image was rotated.

Gidaris, Singh, Komodakis 2018, arXiv:1803.07728; reference code gidariss/FeatureLearningRotNet
(edafaba). All four copies of an image stand in one step, as there.
Departure: the encoder is any of genlab's, with a linear head on its features; the paper's own is
``nin`` with four blocks.

The turn is the last step, after crop and flip, and exact. A rotation of some degrees would leave
black corners and blur that tell the answer; one of quarters as augmentation would remove it. The
paper's best features come from inner blocks: see ``genlab evaluate --stage``.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from genlab import losses, networks, optim
from genlab.augment.pretext.rotation import TURNS, quarter_turns, turn
from genlab.contracts import Batch, data_of
from genlab.metrics import log_steps


class Rotation(L.LightningModule):
    """Classification of four rotations; the network's batch is four times the images'.

    What has no upright pose has no answer: 0, 1 and 8 among digits, round flowers.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of the encoder; see `networks.encoder`.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss, val/loss (nats, lower): cross entropy of the turn, mean over the 4B copies;
            log 4 by guessing.

    Raises:
        ValueError: an unknown encoder, or later, data whose augmentation rotates or shears.
    """

    configure_callbacks = log_steps
    reads_views = False

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.head = nn.Linear(self.encoder.out_dim, TURNS)

    def on_fit_start(self) -> None:
        """Refuse augmentation that rotates or shears.

        Raises:
            ValueError: ``data.augment.rotate`` or ``data.augment.shear`` is on.
        """
        augment = getattr(getattr(data_of(self.trainer), "finish", None), "augment", None)
        for name in ("rotate", "shear"):
            if getattr(augment, name, 0):
                raise ValueError(
                    f"Rotation cannot be combined with data.augment.{name}: its black corners and "
                    "its axis tell what the task asks for"
                )

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F)."""
        return self.encoder(image)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Cross entropy over the four rotations of every image."""
        return self._answer(batch["image"])[0]

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As training; ``feature`` (B, F) of the images as they are, for callbacks."""
        found, h = self._answer(batch["image"])
        return found | {"feature": h[: len(batch["image"])]}

    @torch.no_grad()
    def task_pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Images turned by 0, 90, 180, 270 degrees in order, and turned back by the answer."""
        asked, guess = self._asked(batch["image"])
        turned = turn(batch["image"], asked)
        return {"input": turned, "target": batch["image"], "output": turn(turned, -guess)}

    @torch.no_grad()
    def task_answers(self, batch: Batch) -> list[tuple[str, str]]:
        """Turns of `task_pictures` in degrees, and those that are told."""
        asked, guess = ((90 * one).tolist() for one in self._asked(batch["image"]))
        return [(f"{a}°", f"{g}°") for a, g in zip(asked, guess, strict=True)]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _asked(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """A turn for each image, in order, and the one that is told: (B,) and (B,)."""
        asked = torch.arange(len(image), device=image.device) % TURNS
        return asked, self.head(self.encoder(turn(image, asked))).argmax(1)

    def _answer(self, image: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Loss and accuracy, and the features (4B, F) of one pass: batch norm sees all turns."""
        h = self.encoder(quarter_turns(image))
        target = torch.arange(TURNS, device=image.device).repeat_interleave(len(image))  # (4B,)
        return losses.task_nll(self.head(h), target), h
