"""Autoencoder: the baseline that VAE, CVAE and VQ-VAE are compared with; no prior, no sampling.

Hinton & Salakhutdinov 2006, Science 313(5786). Departures: trained end to end by gradient descent
from random weights, without the paper's layer by layer start from restricted Boltzmann machines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import losses, networks, optim
from genlab.contracts import Batch
from genlab.metrics import log_steps
from genlab.networks.interpolation import latent_path


class Autoencoder(L.LightningModule):
    """Encoder, code, decoder.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        latent_dim: D of the code.
        encoder: ``mlp``, ``conv`` or a timm name; see `networks.image_encoder`.
        decoder: ``mlp`` or ``conv``.
        hidden_dims: widths of the dense layers of the encoder; the decoder's run reversed.
        activation: activation of the dense layers, by name.
        likelihood: ``bernoulli`` (cross entropy) or ``gaussian`` (squared error, unit variance).
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder's network.
        decoder_kwargs: arguments of the decoder's network.

    Logs:
        train/loss, val/loss, test/loss (nats, lower): -log p(image | code), summed over pixels,
            mean over images; of ``bernoulli`` the cross entropy.
        val/mse, test/mse (squared intensity, lower): squared error of a pixel in [0, 1], mean over
            pixels and images.

    Raises:
        ValueError: an argument is out of its range.
    """

    configure_callbacks = log_steps
    reads_views = False

    def __init__(
        self,
        channels: int = 1,
        image_size: int = 28,
        latent_dim: int = 16,
        encoder: str = "mlp",
        decoder: str = "mlp",
        hidden_dims: Sequence[int] = (512,),
        activation: str = "relu",
        likelihood: str = "bernoulli",
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        decoder_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if latent_dim < 1:
            raise ValueError(f"latent_dim must be at least 1, got {latent_dim}")
        if likelihood not in ("bernoulli", "gaussian"):
            raise ValueError(f"unknown likelihood {likelihood!r}; choose from bernoulli, gaussian")
        dense = (hidden_dims, activation)
        self.encoder = networks.image_encoder(
            encoder, channels, image_size, latent_dim, *dense, **(encoder_kwargs or {})
        )
        self.decoder = networks.image_decoder(
            decoder, latent_dim, channels, image_size, *dense, **(decoder_kwargs or {})
        )

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, the code: (B, C, H, W) -> (B, D)."""
        return self.encoder(image)

    def decode(self, z: Tensor) -> Tensor:
        """The image of a code: (B, D) -> (B, C, H, W) in [0, 1]."""
        likelihood, channels = self.hparams["likelihood"], self.hparams["channels"]
        return losses.pixel_mean(likelihood, self.decoder(z), channels)

    @torch.no_grad()
    def reconstruct(self, image: Tensor) -> Tensor:
        """Images through their codes: (B, C, H, W) -> (B, C, H, W) in [0, 1]."""
        return self.decode(self(image))

    @torch.no_grad()
    def interpolate(
        self, start: Tensor, end: Tensor, steps: int, spherical: bool = False
    ) -> Tensor:
        """Lines or arcs between codes: 2 x (B, C, H, W) -> (B, steps, C, H, W)."""
        paths = latent_path(self(start), self(end), steps, spherical)  # (B, steps, D)
        return torch.stack([self.decode(path) for path in paths])

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Reconstruction, summed over pixels, mean over the batch."""
        return {"loss": self._reconstruction(batch["image"])[0]}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The training loss, and the mean squared error of a pixel."""
        image = batch["image"]  # (B, C, H, W)
        loss, maps = self._reconstruction(image)
        again = losses.pixel_mean(self.hparams["likelihood"], maps, image.shape[1])
        return {"loss": loss, "mse": F.mse_loss(again, image)}

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _reconstruction(self, image: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.decoder(self.encoder(image))  # (B, C, H, W)
        return losses.pixel_nll(self.hparams["likelihood"], maps, image).mean(), maps
