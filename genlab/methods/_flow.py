"""Common base of the flow methods NICE, RealNVP, Glow, MAF and NSF."""

from __future__ import annotations

from collections.abc import Iterator

import lightning as L
import torch
from torch import Tensor

from genlab import optim
from genlab.augment.draws import Params, Shape, for_images
from genlab.contracts import Batch, DataModule, data_of
from genlab.metrics import log_steps
from genlab.networks.flows.image_flow import ImageFlow
from genlab.networks.flows.whitening import ROWS, Whitening
from genlab.networks.interpolation import latent_path

STREAM = 113  # of validation's draws


class FlowMethod(L.LightningModule):
    """An invertible map of images to latents of a known density; a method makes ``flow`` of layers.

    Logs:
        train/loss, val/loss, test/loss (nats, lower): -log p(x) of dequantised pixels in units of a
            level, mean over images; in training given the label, if ``conditional``; in validation
            and test at places in the pixels' cells that belong to the image.
        train/bits_per_dim, val/bits_per_dim, test/bits_per_dim (bits, lower): loss / (C H W log 2),
            of images in levels.

    Attributes:
        flow: preprocessing, layers and latents.
        num_classes: K of latents that know classes, else 0.
    """

    flow: ImageFlow
    num_classes: int = 0

    configure_callbacks = log_steps
    reads_views = False

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, the latents: (B, C, H, W) -> (B, D)."""
        return self.encode(image)

    def encode(self, image: Tensor) -> Tensor:
        """Latents of the image, without noise: (B, C, H, W) -> (B, D)."""
        return self.flow.encode(image)

    def decode(self, z: Tensor) -> Tensor:
        """The image of these latents, exactly that which `encode` was given: -> (B, C, H, W)."""
        return self.flow.decode(z)

    @torch.no_grad()
    def reconstruct(self, image: Tensor) -> Tensor:
        """There and back: (B, C, H, W) -> (B, C, H, W), the same image."""
        return self.decode(self.encode(image))

    @torch.no_grad()
    def sample(self, n: int, label: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draw latents, their spread times ``temperature``, and decode: (n, C, H, W).

        With classes, of the classes ``label`` (n,), or of all classes alike.
        """
        return self.decode(self.flow.latents.sample(n, label, temperature))

    @torch.no_grad()
    def interpolate(self, start: Tensor, end: Tensor, steps: int, spherical: bool = True) -> Tensor:
        """Arcs or lines between latents: 2 x (B, C, H, W) -> (B, steps, C, H, W)."""
        paths = latent_path(self.encode(start), self.encode(end), steps, spherical)  # (B, steps, D)
        return torch.stack([self.decode(path) for path in paths])

    def log_prob(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Log-density in nats, of dequantised pixels in units of a level: -> (B,).

        With classes, given the label; without one (or -1) the mixture of all classes.
        """
        return self.flow.log_prob(image, self.cell_noise(image), label)

    def cell_noise(self, image: Tensor) -> Tensor:
        """Position of each pixel in its cell, uniform in [0, 1): -> (B, C, H, W)."""
        return torch.rand_like(image)

    def on_fit_start(self) -> None:
        """Whiten by the training data, in a fresh training; every process sees all of them.

        Raises:
            ValueError: the Trainer has no data module.
        """
        for layer in self.modules():
            if isinstance(layer, Whitening) and not layer.fitted:
                layer.fit(self._training_vectors())

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Negative log-density in nats, of the class where known; mean over the batch."""
        label = batch["label"] if self.num_classes else None
        return self._figures(self.log_prob(batch["image"], label))

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Negative log-density without labels; bits per dimension of images."""
        return self._figures(self.flow.log_prob(batch["image"], self._own_noise(batch)))

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _training_vectors(self) -> Iterator[Tensor]:
        """Training images as the flow takes them, noise drawn from a seed: (B, D) each."""
        data = data_of(self.trainer)
        if not isinstance(data, DataModule):
            raise ValueError("whiten requires a data module; set model.whiten=false")
        noise = torch.Generator().manual_seed(0)
        for batch in data.bank_dataloader("train", most=ROWS):
            image: Tensor = data.to_device(batch)["image"]
            drawn = torch.rand(image.shape, generator=noise)
            yield self.flow.pixels(image, drawn)[0].flatten(1)

    def _own_noise(self, batch: Batch) -> Tensor:
        """As `cell_noise`, but the image's own: the same in every epoch, batch and process."""
        if not self.flow.pixels.quantised:
            return torch.zeros_like(batch["image"])  # not looked at
        return for_images(_places, batch, training=False, stream=STREAM)["cell"]

    def _figures(self, log_prob: Tensor) -> dict[str, Tensor]:
        """Metrics of log-densities in nats, (B,)."""
        figures = {"loss": -log_prob.mean()}
        if self.flow.pixels.quantised:
            figures["bits_per_dim"] = self.flow.bits_per_dim(log_prob)
        return figures


def _places(shape: Shape, generator: torch.Generator) -> Params:
    """Positions in the cells, uniform in [0, 1)."""
    return {"cell": torch.rand(shape, generator=generator, device=generator.device)}
