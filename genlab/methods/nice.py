"""NICE: four additive couplings and one scaling, on flattened images.

Dinh, Krueger, Bengio 2014, arXiv:1410.8516. One part of the pixels is the even ones of the
flattened image. Departure: the scaling starts from the first batch's deviations, with a shift
(ActNorm); from 1 it takes thousands of steps to get near the width of a black pixel's noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from genlab import optim
from genlab.networks.flows import bijections
from genlab.networks.flows.actnorm import ActNorm
from genlab.networks.flows.coupling_nets import dense_net
from genlab.networks.flows.couplings import HalfCoupling, change
from genlab.networks.flows.dequantise import Pixels
from genlab.networks.flows.image_flow import ImageFlow
from genlab.networks.flows.latents import Latents
from genlab.networks.interpolation import latent_path


class NICE(L.LightningModule):
    """Normalizing flow that keeps volumes up to its last layer.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        couplings: additive ones, even and odd pixels taking turns; at least 3 for every pixel to
            depend on every other.
        hidden_dims: widths of each coupling's MLP.
        activation: between them.
        latents: ``logistic`` or ``normal``.
        preprocess: from pixels to numbers, see `networks.pixels.Pixels`.
        levels: values a pixel can have.
        optimizer: how to train; see `optim.build`.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        channels: int = 1,
        image_size: int = 28,
        couplings: int = 4,
        hidden_dims: Sequence[int] = (1000, 1000, 1000, 1000, 1000),
        activation: str = "relu",
        latents: str = "logistic",
        preprocess: str = "unit",
        levels: int = 256,
        optimizer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        shape, dim = (channels, image_size, image_size), channels * image_size**2
        if couplings < 1 or dim < 2:
            raise ValueError(f"couplings {couplings} at least 1, and {dim} numbers at least 2")
        even, every = (dim + 1) // 2, torch.arange(dim)
        layers: list[nn.Module] = [bijections.Reshape(shape, (dim,))]
        layers += [bijections.Permute(torch.cat([every[0::2], every[1::2]]))]
        for i in range(couplings):
            stay = even if i % 2 == 0 else dim - even
            net = dense_net(stay, dim - stay, hidden_dims, activation)
            layers += [HalfCoupling(net, change("additive"), flip=i % 2 == 1)]
        chain = bijections.Chain([*layers, ActNorm(dim)])
        self.flow = ImageFlow(Pixels(preprocess, levels), chain, Latents(dim, latents))

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
    def sample(self, n: int, temperature: float = 1.0) -> Tensor:
        """Draw latents, their spread times ``temperature``, and decode: (n, C, H, W)."""
        return self.decode(self.flow.latents.sample(n, temperature=temperature))

    @torch.no_grad()
    def interpolate(self, start: Tensor, end: Tensor, steps: int, spherical: bool = True) -> Tensor:
        """From latents to latents on an arc, or a line: 2 x (B, C, H, W) -> (B, steps, C, H, W)."""
        paths = latent_path(self.encode(start), self.encode(end), steps, spherical)
        return torch.stack([self.decode(path) for path in paths])

    def log_prob(self, image: Tensor) -> Tensor:
        """Log-density in nats, of dequantised pixels in units of a level: -> (B,)."""
        return self.flow.log_prob(image, self.cell_noise(image))

    def cell_noise(self, image: Tensor) -> Tensor:
        """Where in its cell each pixel lies, uniform in [0, 1): -> (B, C, H, W)."""
        return torch.rand_like(image)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Negative log-density, mean over the batch, sum over dimensions, in nats."""
        return self._figures(batch["image"])

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Negative log-density; bits per dimension of images."""
        self._log("val", batch)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Negative log-density; bits per dimension of images."""
        self._log("test", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _figures(self, image: Tensor) -> dict[str, Tensor]:
        log_prob = self.log_prob(image)
        figures = {"loss": -log_prob.mean()}
        if self.flow.pixels.quantised:
            figures["bits_per_dim"] = self.flow.bits_per_dim(log_prob)
        return figures

    def _log(self, split: str, batch: dict[str, Any]) -> None:
        named = {f"{split}/{name}": v for name, v in self._figures(batch["image"]).items()}
        size = len(batch["image"])
        self.log_dict(named, batch_size=size, on_step=False, on_epoch=True, sync_dist=True)
