"""SplitBrain: one half of the network tells colour from lightness, the other lightness from colour.

Zhang, Isola, Efros 2017, arXiv:1611.09842; reference code richzhang/splitbrainauto (79c1349).
Departures: 261 bins of (a, b), see `colour_bins`; the bins of L are 50 of equal width, since the
reference's number is not known here; decoders by sub-pixel convolutions on any encoder's last map.

The halves share nothing, so that neither sees what it must tell; features are those of both. A half
has half the width that the whole is to have: ``encoder_kwargs.width: 8`` for 16.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import losses, networks, optim
from genlab.augment.lab import lab_to_rgb, rgb_to_lab
from genlab.augment.pretext.colour_bins import annealed_mean, bin_centres, soft_code
from genlab.contracts import Batch
from genlab.metrics import ImageError, log_steps
from genlab.networks.modes import evaluating
from genlab.networks.sub_pixel import SubPixelDecoder

BACKBONE = "genlab.networks.split_backbone.SplitBackbone"
LEVELS = 50  # bins of L


class SplitBrain(L.LightningModule):
    """Cross-channel prediction between lightness and colour, both as distributions over bins.

    Args:
        channels: C of the images: 3.
        image_size: H = W in pixels.
        encoder: name of each half; see `networks.encoder`.
        neighbours: bins of (a, b) that share a pixel in its soft code.
        stride: pixels of the image along a side of a predicted one.
        decoder_width: channels of each decoder.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of each half (``stem``, ``width`` ...).
        pretrained: weights of both halves to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss, val/loss (nats, lower): loss_colour plus loss_lightness.
        train/loss_colour, val/loss_colour (nats, lower): cross entropy of the soft codes of (a, b)
            told from L, mean over pixels.
        train/loss_lightness, val/loss_lightness (nats, lower): cross entropy of the bin of L told
            from a and b, mean over pixels.
        train/task_accuracy, val/task_accuracy (fraction, higher): share of pixels whose likeliest
            bin of (a, b) is the nearest.
        train/task_chance, val/task_chance (fraction): share of pixels in the bin of grey: what an
            answer without colour reaches.

    Raises:
        ValueError: grey images, an argument out of its range, or images to be normalised.
    """

    configure_callbacks = log_steps
    reads_views = False
    law_images = (3, 16)
    centres: Tensor

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        neighbours: int = 5,
        stride: int = 1,
        decoder_width: int = 64,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if neighbours < 1 or not 1 <= stride <= image_size:
            raise ValueError(f"neighbours {neighbours} and stride {stride} must be at least 1")
        given = dict(encoder_kwargs or {})
        if given.get("normalize") is not None:
            raise ValueError(
                "SplitBrain cannot be combined with encoder_kwargs.normalize: its halves take "
                "lightness and colour of images in [0, 1]"
            )
        given["normalize"] = {"mean": 0.0, "std": 1.0}  # whatever pretrained weights say
        given |= {"half": encoder, "half_stem": given.pop("stem", None)}
        self.backbone = {"encoder": BACKBONE, "encoder_kwargs": given}
        self.encoder = networks.encoder(
            BACKBONE, channels, image_size, pretrained, pretrained_options, **given
        )
        self.register_buffer("centres", torch.tensor(bin_centres()))  # (Q, 2)
        with evaluating(self.encoder), torch.no_grad():
            maps = self._maps(torch.zeros(1, 3, image_size, image_size))
        side = image_size // stride
        self.tell_colour, self.tell_lightness = (
            SubPixelDecoder(found.shape[1], bins, found.shape[2], side, decoder_width)
            for found, bins in zip(maps, (len(self.centres), LEVELS), strict=True)
        )
        self.image_error = ImageError()

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, of both halves: (B, 3, H, W) -> (B, 2F)."""
        return self.encoder(image)

    def predict(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of the bins of (a, b), told from L, and of L: (B, Q, h, w), (B, 50, h, w)."""
        lightness, colour = self._maps(image)
        return self.tell_colour(lightness), self.tell_lightness(colour)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Cross entropy of both answers."""
        return self._loss(*self.predict(batch["image"]), rgb_to_lab(batch["image"]))

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As training; the error of the coloured image; ``feature`` (B, F) for callbacks."""
        image = batch["image"]
        lab, (colour, lightness) = rgb_to_lab(image), self.predict(image)
        grey = lab_to_rgb(torch.cat([lab[:, :1], torch.zeros_like(lab[:, 1:])], 1))
        self.image_error.update(self._coloured(lab, colour), image, grey)
        return self._loss(colour, lightness, lab) | {"feature": self(image)}

    def on_validation_epoch_end(self) -> None:
        """Decibels of the coloured images of the split, and of grey ones."""
        found = self.image_error.compute()
        self.image_error.reset()
        self.log_dict({f"val/{key}": value for key, value in found.items()}, sync_dist=False)

    @torch.no_grad()
    def task_pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Input and output of each half, and the image between them."""
        image = batch["image"]
        lab, (colour, scores) = rgb_to_lab(image), self.predict(image)
        level = (torch.arange(LEVELS, device=image.device) + 0.5) * (100 / LEVELS)
        share = scores.float().softmax(1)
        told = (share * level[:, None, None]).sum(1, keepdim=True).to(lab.dtype)
        ab = lab[:, 1:]
        return {
            "L": lab[:, :1] / 100,
            "predicted ab": self._coloured(lab, colour),
            "target": image,
            "ab": lab_to_rgb(torch.cat([torch.full_like(told, 60.0), _at(ab, told)], 1)),
            "predicted L": lab_to_rgb(torch.cat([told, _at(ab, told)], 1)),
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Name the network to those who take its weights."""
        checkpoint["backbone"] = self.backbone

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        network: Any = self.encoder.backbone
        lightness, colour = network.maps(image)
        return lightness, colour

    def _loss(self, colour: Tensor, lightness: Tensor, lab: Tensor) -> dict[str, Tensor]:
        """(B, Q, h, w), (B, 50, h, w), (B, 3, H, W) -> scalars."""
        lab = F.adaptive_avg_pool2d(lab, colour.shape[-1])
        pixels = lab.movedim(1, -1).flatten(0, 2)  # (B h w, 3)
        scores = colour.movedim(1, -1).flatten(0, 2)  # (B h w, Q)
        bins, share = soft_code(pixels[:, 1:], self.centres, self.hparams["neighbours"])
        of_colour = losses.soft_code_nll(scores, bins, share).mean()
        level = (pixels[:, 0] * (LEVELS / 100)).long().clamp(0, LEVELS - 1)
        levels = lightness.movedim(1, -1).flatten(0, 2)
        of_lightness = losses.task_nll(levels, level)["loss"]
        return {
            "loss": of_colour + of_lightness,
            "loss_colour": of_colour,
            "loss_lightness": of_lightness,
            "task_accuracy": (scores.detach().argmax(1) == bins[:, 0]).float().mean(),
            "task_chance": (self.centres[bins[:, 0]] == 0).all(1).float().mean(),
        }

    def _coloured(self, lab: Tensor, scores: Tensor) -> Tensor:
        """The lightness in the colour that was told: (B, 3, H, W) in [0, 1]."""
        ab = _at(annealed_mean(scores, self.centres), lab).to(lab.dtype)
        return lab_to_rgb(torch.cat([lab[:, :1], ab], 1))


def _at(image: Tensor, like: Tensor) -> Tensor:
    """The image at another image's size."""
    return F.interpolate(image, like.shape[-2:], mode="bilinear", align_corners=False)
