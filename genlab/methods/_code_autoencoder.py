"""Common base of VQVAE and VQGAN: an encoder, a quantiser and a decoder, and what codes are for."""

from __future__ import annotations

from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor

from genlab import optim
from genlab.metrics import log_steps
from genlab.metrics.codebook import CodebookUsage, perplexity
from genlab.networks.autoencoders.conv import ConvDecoder, ConvEncoder
from genlab.networks.autoencoders.quantizer import stage_counts


class CodeAutoencoder(L.LightningModule):
    """Images to grids of codes and back; a tokenizer, see `tokenizers.Tokenizer`.

    Attributes:
        quantizer: see `networks.autoencoders.quantizer.Quantizer`.
        num_codes: K.
        code_shape: (h, w Q) of a grid of codes, Q stages at a place.
        usage: codes in use over an epoch.
    """

    quantizer: Any

    configure_callbacks = log_steps
    reads_views = False
    near_ties: ClassVar = {"state": "rounding gives an image another nearest code"}

    def assemble(self, quantizer: Any, channels: int, *sizes: int) -> None:
        """Set quantiser, encoder and decoder.

        Args:
            quantizer: one of `quantizer_factory`.
            channels: C of the images.
            *sizes: image size, downsamplings, width and residual blocks, as of `ConvEncoder`.
        """
        self.quantizer = quantizer
        self.encoder = ConvEncoder(channels, quantizer.code_dim, *sizes)
        self.decoder = ConvDecoder(quantizer.code_dim, channels, *sizes)
        self.num_codes, side = quantizer.num_codes, self.encoder.map_size
        self.code_shape = (side, side * quantizer.stages)
        self.usage = CodebookUsage(self.num_codes, quantizer.stages, quantizer.levels)

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, the encoder's map averaged over the grid: -> (B, D)."""
        return self.encoder(image).mean((2, 3))

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        """The codes of images: (B, C, H, W) -> (B, h, w)."""
        return self.quantizer(self.encoder(image)).codes

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """The images of codes: (B, h, w) -> (B, C, H, W) in [0, 1]."""
        return self.pixels(self.decoder(self.quantizer.embed(codes)))

    @torch.no_grad()
    def latents(self, image: Tensor) -> Tensor:
        """The encoder's map, before it is quantised: (B, C, H, W) -> (B, D, h, w)."""
        latents: Tensor = self.encoder(image)
        return latents

    @torch.no_grad()
    def image_of(self, latents: Tensor) -> Tensor:
        """The images of the nearest codes: (B, D, h, w) -> (B, C, H, W) in [0, 1]."""
        return self.decode(self.quantizer(latents).codes)

    @torch.no_grad()
    def reconstruct(self, image: Tensor) -> Tensor:
        """Images through their codes: (B, C, H, W) -> (B, C, H, W) in [0, 1]."""
        return self.decode(self.encode(image))

    def pixels(self, out: Tensor) -> Tensor:
        """The decoder's output as pixels in [0, 1]."""
        return out.clamp(0, 1)

    def perplexity(self, codes: Tensor) -> Tensor:
        """Perplexity of a batch's codes, (B, h, w) -> scalar, mean over stages."""
        return perplexity(stage_counts(codes, self.num_codes, self.quantizer.stages))  # (Q, K)

    def on_validation_epoch_end(self) -> None:
        """Perplexity and codes used, over the epoch and all ranks."""
        self._log_usage("val")

    def on_test_epoch_end(self) -> None:
        """As validation."""
        self._log_usage("test")

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The codebook moves once per optimiser step, whatever the gradient accumulation."""
        super().optimizer_step(*args, **kwargs)
        self.quantizer.update()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`; what is frozen is not in it."""
        return optim.build(self, self.hparams["optimizer"])

    def _log_usage(self, split: str) -> None:
        figures = {f"{split}/{name}": value for name, value in self.usage.compute().items()}
        self.log_dict(figures, sync_dist=True)
        self.usage.reset()
