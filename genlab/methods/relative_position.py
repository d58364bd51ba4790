"""RelativePosition: where one patch lies from another, among eight places.

Doersch, Gupta, Efros 2015, arXiv:1505.05192 (context prediction); reference code
cdoersch/deepcontext (5307282).
Departures: all eight neighbours of a patch are asked for in one step, as in mmselfsup; sizes are
shares of the image; batch norm in the head has a gain.

Guards: gaps and jitter, or the borders tell the place (54 % of pairs on CIFAR-10 without a gap,
25 % with 3 px; chance 12.5 %); one channel stays, or chromatic aberration tells it; a third of the
patches lose their sharpness; each patch is standardised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import losses, networks, optim
from genlab.augment.draws import Params, Shape, for_images
from genlab.augment.pretext.tiles import (
    assembled,
    cut,
    draw_patch_guard,
    neighbour_corners,
    patch_guard,
)
from genlab.contracts import Batch
from genlab.metrics import log_steps
from genlab.networks.encoders.backbones import probe
from genlab.networks.encoders.normalization import own_normalization

STREAM = 49  # of the batch's seed
LEAST = 6  # pixels of a patch
CENTRE = 4  # of nine, row by row
PLACES = (0, 1, 2, 3, 5, 6, 7, 8)  # label -> place; labels 0 1 2 / 3 . 4 / 5 6 7
NAMES = ("upper left", "above", "upper right", "left", "right", "lower left", "below",
         "lower right")  # fmt: skip


class RelativePosition(L.LightningModule):
    """Classification of the eight places around a patch.

    All patches of all images of a batch pass the encoder together. They are standardised before
    their channels are dropped; whole images the encoder standardises itself, also in what takes it
    over (``encoder_kwargs.normalize.per_image``).

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of the encoder; see `networks.encoder`. It must take patches: most CNNs.
        patch: side of a patch as a share of the image's.
        gap: distance of two patches as a share of the image's side.
        jitter: largest move of a patch as a share of the image's side.
        drop_channels: True to keep one channel of each patch, with noise for the others.
        blurred: chance that a patch is halved in size and enlarged again.
        head_dims: hidden widths of the head, which takes the features of two patches.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss, val/loss (nats, lower): cross entropy of the place, mean over the 8B pairs;
            log 8 by guessing.

    Raises:
        ValueError: an argument out of its range, patches that are too small or do not fit, an
            encoder that cannot take them, or other numbers to normalise them.
    """

    configure_callbacks = log_steps
    reads_views = False
    law_images = (3, 32)

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        patch: float = 0.25,
        gap: float = 0.1,
        jitter: float = 0.03,
        drop_channels: bool = True,
        blurred: float = 0.33,
        head_dims: Sequence[int] = (256,),
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.side, self.gap, self.jitter = (round(x * image_size) for x in (patch, gap, jitter))
        _check(image_size, self.side, self.gap, self.jitter, blurred)
        kwargs = dict(encoder_kwargs or {})
        kwargs["normalize"] = own_normalization("RelativePosition", kwargs)
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **kwargs
        )
        probe(encoder, self.encoder.backbone, channels, self.side)
        self.head = networks.mlp(2 * self.encoder.out_dim, *head_dims, len(PLACES), norm="batch")

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F)."""
        return self.encoder(image)

    def patches(self, batch: Batch) -> Tensor:
        """Nine patches of each image, row by row, as they are: (B, 9, C, t, t)."""
        return cut(batch["image"], self._drawn(batch)["corner"], self.side)

    def guarded(self, batch: Batch) -> Tensor:
        """The patches as the encoder sees them: (B, 9, C, t, t)."""
        drawn = self._drawn(batch)
        patches = cut(batch["image"], drawn["corner"], self.side)
        return patch_guard(patches, drawn, self.hparams["drop_channels"])

    def draw(self, shape: Shape, generator: torch.Generator) -> Params:
        """Corners and guards of the patches of each of N images (N, C, H, W)."""
        corner = neighbour_corners(shape, self.side, self.gap, self.jitter, generator)
        guard = draw_patch_guard(shape, 9, self.side, self.hparams["blurred"], generator)
        return {"corner": corner} | guard

    def places_of(self, patches: Tensor) -> Tensor:
        """Scores of the eight neighbours' places: (B, 9, C, t, t) -> (8, B, 8)."""
        flat = patches.transpose(0, 1).flatten(0, 1)
        h = self.encoder(flat, normalized=True).unflatten(0, (9, -1))  # (9, B, F)
        centre, others = h[CENTRE : CENTRE + 1], torch.cat([h[:CENTRE], h[CENTRE + 1 :]])
        pairs = torch.cat([centre.expand(8, -1, -1), others], 2)  # (8, B, 2F)
        return self.head(pairs.flatten(0, 1)).unflatten(0, (8, -1))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Cross entropy of the place of each neighbour."""
        return self._answer(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As training; ``feature`` (B, F) of whole images for callbacks."""
        return self._answer(batch) | {"feature": self(batch["image"])}

    @torch.no_grad()
    def task_pictures(self, batch: Batch) -> dict[str, Tensor]:
        """A patch and a neighbour of it, at its place, and at the place that was told."""
        patches, (asked, told) = self.patches(batch), self._asked(batch)
        rows = torch.arange(len(patches), device=patches.device)
        place = torch.tensor(PLACES, device=patches.device)
        neighbour = patches[rows, place[asked]]
        shown = {"input": None, "target": place[asked], "output": place[told]}
        return {title: _sheet(patches, neighbour, where) for title, where in shown.items()}

    @torch.no_grad()
    def task_answers(self, batch: Batch) -> list[tuple[str, str]]:
        """Places of the neighbours of `task_pictures`, and those that are told."""
        asked, told = (one.tolist() for one in self._asked(batch))
        return [(NAMES[a], NAMES[t]) for a, t in zip(asked, told, strict=True)]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _asked(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """A label for each image, in order, and the one that is told: (B,) and (B,)."""
        scores = self.places_of(self.guarded(batch))  # (8, B, 8)
        rows = torch.arange(scores.shape[1], device=scores.device)
        return rows % 8, scores[rows % 8, rows].argmax(1)

    def _answer(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.places_of(self.guarded(batch))  # (8, B, 8)
        label = torch.arange(8, device=logits.device)[:, None].expand(logits.shape[:2])
        return losses.task_nll(logits.flatten(0, 1), label.flatten())

    def _drawn(self, batch: Batch) -> Params:
        return for_images(self.draw, batch, self.training, STREAM)


def _sheet(patches: Tensor, neighbour: Tensor, where: Tensor | None) -> Tensor:
    """3 x 3 places with the centre and its neighbour; without a place they stand side by side."""
    sheet = torch.full_like(patches, 0.75)
    rows = torch.arange(len(patches), device=patches.device)
    sheet[:, 3 if where is None else CENTRE] = patches[:, CENTRE]
    sheet[rows, torch.full_like(rows, 5) if where is None else where] = neighbour
    return assembled(sheet, 3)


def _check(image_size: int, side: int, gap: int, jitter: int, blurred: float) -> None:
    if side < LEAST:
        raise ValueError(
            f"patches of {side} px of {image_size} are too small: relative position requires at "
            f"least {LEAST} px, below that a patch shows strokes and no parts"
        )
    if min(gap, jitter) < 0 or not 0 <= blurred <= 1:
        raise ValueError(f"gap {gap}, jitter {jitter} and blurred {blurred} must be at least 0")
    if (needed := 3 * side + 2 * gap + 2 * jitter) > image_size:
        raise ValueError(
            f"3 patches of {side} px with gaps of {gap} and jitter of {jitter} require "
            f"{needed} px, not {image_size}"
        )
