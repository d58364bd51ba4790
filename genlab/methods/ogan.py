"""O-GAN: a GAN whose critic is an encoder, without a network more and without a second step.

Su 2019, arXiv:1903.01931; reference code github.com/bojone/o-gan. Departures: none in the loss but
for a smallest distance, see `losses.orthogonal_loss`; the networks are those of WGANGP.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import losses, networks, optim
from genlab.augment.draws import for_images, normal
from genlab.contracts import Batch
from genlab.metrics import log_steps
from genlab.networks.interpolation import latent_path
from genlab.networks.modes import statistics_kept

RMSPROP = {"name": "torch.rmsprop", "lr": 1e-4, "alpha": 0.99}
STREAM = 121  # of validation's draws
SHRINK = 0.9  # of a code before it is decoded, as in the reference code


class OGAN(L.LightningModule):
    """A generator, and a critic whose output is a score and a code.

    The critic finds D numbers e(x). Their mean is the score, low for real images; the numbers less
    their mean, at unit variance, are the code, from which the generator makes the image again. One
    optimiser trains both networks on one loss.

    Args:
        channels, image_size: C of the images; H = W in pixels.
        latent_dim: D of the noise and of the code.
        generator: ``mlp``, ``dcgan`` or ``resnet``; see `networks.generator`.
        critic: the same names; see `networks.critic`. It is the encoder.
        optimizer: settings of the optimiser; see `optim.build`. By default the paper's RMSprop.
        generator_kwargs, critic_kwargs: arguments of the networks (``width``, ``norm`` ...).

    Logs:
        train/loss (score, lower): `losses.orthogonal_loss`.
        train/score, val/score, test/score (score): mean score of real images less fake ones.
        train/correlation, val/correlation, test/correlation (1, higher): correlation of the noise
            and the encoder's output for its image, mean over images.
        val/mse, test/mse (squared intensity, lower): squared error of a pixel in [0, 1] of images
            through their codes, mean over pixels and images.

    Raises:
        ValueError: an argument is out of its range.
    """

    configure_callbacks = log_steps
    reads_views = False

    def __init__(
        self,
        channels: int = 1,
        image_size: int = 28,
        latent_dim: int = 128,
        generator: str = "dcgan",
        critic: str = "dcgan",
        optimizer: dict[str, Any] | None = None,
        generator_kwargs: dict[str, Any] | None = None,
        critic_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if latent_dim < 3:
            raise ValueError(f"latent_dim must be at least 3, got {latent_dim}")
        shape = (channels, image_size)
        self.generator = networks.generator(
            generator, latent_dim, *shape, **(generator_kwargs or {})
        )
        self.critic = networks.critic(critic, *shape, outputs=latent_dim, **(critic_kwargs or {}))

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, the code: (B, C, H, W) -> (B, D)."""
        return self.encode(image)

    def encode(self, image: Tensor) -> Tensor:
        """Code of mean 0 and variance 1 in each row: (B, C, H, W) -> (B, D)."""
        return losses.standardised_code(self.critic(2 * image - 1))

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """(B, D) -> (B, C, H, W) in [0, 1]."""
        return (self.generator(z) + 1) / 2

    @torch.no_grad()
    def reconstruct(self, image: Tensor) -> Tensor:
        """Images through their codes, shrunk by 0.9: (B, C, H, W) -> (B, C, H, W) in [0, 1]."""
        return self.decode(SHRINK * self.encode(image))

    @torch.no_grad()
    def sample(self, n: int, temperature: float = 1.0) -> Tensor:
        """Draw z of standard deviation ``temperature`` and decode: (n, C, H, W)."""
        z = torch.randn(n, self.hparams["latent_dim"], device=self.device)
        return self.decode(temperature * z)

    @torch.no_grad()
    def interpolate(
        self, start: Tensor, end: Tensor, steps: int, spherical: bool = False
    ) -> Tensor:
        """Lines or arcs between codes: -> (B, steps, C, H, W)."""
        codes = SHRINK * self.encode(start), SHRINK * self.encode(end)
        return torch.stack([self.decode(path) for path in latent_path(*codes, steps, spherical)])

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """One loss of generator and encoder."""
        z = torch.randn(len(batch["image"]), self.hparams["latent_dim"], device=self.device)
        return self.loss_of(2 * batch["image"] - 1, z)

    def loss_of(self, real: Tensor, z: Tensor) -> dict[str, Tensor]:
        """The loss and its terms: (B, C, H, W) in [-1, 1], (B, D) -> scalars."""
        fake = self.generator(z).to(real.dtype)  # (B, C, H, W)
        fixed = fake.detach()
        distance = (real - fixed).square().flatten(1).mean(1)  # (B,)
        e_real, e_fake = self.critic(real), self.critic(fake)  # 2 x (B, D)
        with statistics_kept(self.critic):  # batch norms count each image once
            e_fixed = self.critic(fixed)
        return losses.orthogonal_loss(e_real, e_fake, e_fixed, distance, z)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Error of reconstructions, difference of scores and correlation with given noise."""
        image = batch["image"]
        draw = normal(self.hparams["latent_dim"])
        z = for_images(draw, batch, training=False, stream=STREAM)["noise"].to(image.dtype)
        figures = self.loss_of(2 * image - 1, z)
        error = (self.reconstruct(image) - image).square().mean()
        return {"score": figures["score"], "correlation": figures["correlation"], "mse": error}

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"] or RMSPROP)
