"""SuperResolution: the encoder sees a small copy of an image, a decoder gives the image back.

Dong, Loy, He, Tang 2014, arXiv:1501.00092; sub-pixel convolutions of Shi et al. 2016,
arXiv:1609.05158. As a pretext task it has no published results that are known here.
Departures: the encoder is any of genlab's, its last feature map goes to the decoder; the decoder
adds to the bicubic enlargement, so that the gain over that begins at 0.

The small copy is made of the image as augmented, bicubic with antialias: the kernel is part of the
task, and a network of this kernel expects it. Features for downstream use come from the same
encoder at the image's own size.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import networks, optim
from genlab.contracts import Batch
from genlab.metrics import ImageError, log_steps
from genlab.networks.sub_pixel import SubPixelDecoder, map_shape

LOSSES: dict[str, Any] = {"l1": F.l1_loss, "l2": F.mse_loss}


class SuperResolution(L.LightningModule):
    """Regression of an image from its copy at a fraction of its size.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of the encoder; see `networks.encoder`. It must take both sizes: most CNNs.
        factor: side of the image over that of the copy.
        loss: ``l1`` or ``l2`` over pixels.
        decoder_width: channels of the decoder.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss, val/loss (intensity, lower): absolute (``l1``) or squared (``l2``) error of a
            pixel, images in [0, 1], mean over pixels and images.

    Raises:
        ValueError: an argument out of its range, or an encoder that cannot take the copies.
    """

    configure_callbacks = log_steps
    reads_views = False

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        factor: int = 2,
        loss: str = "l1",
        decoder_width: int = 64,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if loss not in LOSSES:
            raise ValueError(f"unknown loss {loss!r}; choose from {', '.join(LOSSES)}")
        if factor < 2 or image_size % factor or image_size < 4 * factor:
            raise ValueError(
                f"factor {factor} must be 2 or more, divide {image_size} px and leave at least 4"
            )
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        width, side = map_shape(self.encoder, channels, image_size // factor)
        self.decoder = SubPixelDecoder(width, channels, side, image_size, decoder_width)
        self.image_error = ImageError()

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, of the image at its own size: (B, C, H, W) -> (B, F)."""
        return self.encoder(image)

    def shrunk(self, image: Tensor) -> Tensor:
        """Small copies, bicubic with antialias: (B, C, H, W) -> (B, C, h, w)."""
        scale = 1 / self.hparams["factor"]
        small = F.interpolate(image, scale_factor=scale, mode="bicubic", antialias=True)
        return small.clamp(0, 1)

    def enlarged(self, small: Tensor) -> Tensor:
        """The answer without learning, bicubic: (B, C, h, w) -> (B, C, H, W)."""
        factor = self.hparams["factor"]
        return F.interpolate(small, scale_factor=factor, mode="bicubic").clamp(0, 1)

    def reconstruct_from(self, small: Tensor) -> Tensor:
        """The answer of the network, not cut to [0, 1]: (B, C, h, w) -> (B, C, H, W)."""
        return self.enlarged(small) + self.decoder(self.encoder.features(small))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Error of a pixel."""
        image = batch["image"]
        return {"loss": self._error(self.reconstruct_from(self.shrunk(image)), image)}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As training, and decibels; ``feature`` (B, F) of whole images for callbacks."""
        image = batch["image"]
        small = self.shrunk(image)
        told = self.reconstruct_from(small)
        self.image_error.update(told.clamp(0, 1), image, self.enlarged(small))
        return {"loss": self._error(told, image), "feature": self(image)}

    def on_validation_epoch_end(self) -> None:
        """Decibels of the split, and of bicubic enlargement."""
        found = self.image_error.compute()
        self.image_error.reset()
        self.log_dict({f"val/{key}": value for key, value in found.items()}, sync_dist=False)

    @torch.no_grad()
    def task_pictures(self, batch: Batch) -> dict[str, Tensor]:
        """The small copy, its bicubic enlargement, the image, and the network's answer."""
        small = self.shrunk(batch["image"])
        told = self.reconstruct_from(small).clamp(0, 1)
        images = {"input": small, "bicubic": self.enlarged(small)}
        return images | {"target": batch["image"], "output": told}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _error(self, told: Tensor, image: Tensor) -> Tensor:
        exact = torch.promote_types(image.dtype, torch.float32)
        error: Tensor = LOSSES[self.hparams["loss"]](told.to(exact), image.to(exact))
        return error
