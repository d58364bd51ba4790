"""Hierarchical VAE: levels of latents, drawn from the top down, in posterior and prior alike.

Two levels: Tomczak & Welling 2017, arXiv:1705.07120, section 3; ladder: Sonderby et al. 2016,
arXiv:1602.02282; residual: Vahdat & Kautz 2020 (NVAE), arXiv:2007.03898.
Departures: dense layers without gates; each level sees all levels above, not the next one alone, as
p(x|z1, z2) does in the paper; free bits bound a level's batch mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor, nn

from genlab import losses, networks, optim
from genlab.augment.draws import for_images, normal
from genlab.contracts import Batch, data_of
from genlab.metrics import ActiveUnits, log_steps
from genlab.networks.autoencoders.pixel_decoders import pixel_decoder
from genlab.networks.interpolation import latent_path
from genlab.networks.latents.levels import Level
from genlab.networks.latents.posteriors import draws_at_a_time
from genlab.networks.latents.priors import Encode, once
from genlab.networks.latents.priors import prior as prior_of

STREAM = 114  # of validation's draws


class Draw(NamedTuple):
    """Latents of all levels, drawn from the posterior, the top level first."""

    z: Tensor  # (..., B, D of all levels)
    kl: Tensor  # (..., B, levels), nats: exact where both densities are normal, else at z
    log_ratio: Tensor  # (..., B), log p(z) - log q(z|x) at z


class HierarchicalVAE(L.LightningModule):
    """Variational autoencoder with several levels of normal latents.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        latent_dims: D of every level, the top level first; two levels or more.
        form: posterior of the levels below the top: ``independent``, ``ladder`` or ``residual``;
            see `networks.latents.levels`.
        prior: prior of the top level: ``standard``, ``mixture``, ``vamp`` or ``flow``.
        encoder: ``mlp``, ``conv`` or a timm name; see `networks.image_encoder`.
        decoder: ``mlp``, ``conv`` or ``pixelcnn``; it sees all levels.
        features: numbers of the encoder that every level sees.
        hidden_dims: widths of the dense layers of the encoder; the decoder's run reversed.
        level_dims: widths of the dense layers of each level's two networks.
        activation: activation of the dense layers, by name.
        likelihood: distribution of a pixel: ``bernoulli``, ``gaussian`` or
            ``discretized_logistic``.
        scale: scale of the latter two: a number, ``shared`` (one learned value per channel) or
            ``pixel`` (the decoder's choice at every pixel).
        kl_weight: beta.
        kl_warmup_steps: optimiser steps over which beta rises linearly from 0.
        free_bits: nats that each level may cost for free.
        iwae_samples: K of the bound reported on the test set.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder's network.
        decoder_kwargs: arguments of the decoder's network.
        prior_kwargs: settings of the prior (``components``, ``steps`` ...).

    Logs:
        train/loss (nats, lower): loss_reconstruction + beta loss_kl, each level at least
            ``free_bits``.
        train/loss_reconstruction, val/reconstruction, test/reconstruction (nats, lower): -log
            p(x|z), z drawn from q(z|x), summed over pixels.
        train/loss_kl, val/kl, test/kl (nats): sum of the levels' KL terms, KL(q(z_l|x, above) ||
            p(z_l|above)) at draws of the levels above.
        train/loss_kl_<level>, val/kl_<level>, test/kl_<level> (nats): that of one level, the top
            one ``kl_1``; 0 when the level is unused.
        val/loss, test/neg_elbo (nats, lower): negative ELBO, reconstruction + kl: an upper bound of
            -log p(x).
        test/iwae_nll (nats, lower): -log (1/K sum_k p(x, z_k) / q(z_k|x)), K = iwae_samples; a
            tighter upper bound of -log p(x).
        test/bits_per_dim (bits, lower): iwae_nll / (C H W log 2), plus 8 of the density
            ``gaussian``; none of ``bernoulli``.
        test/active_units (latents): number of latents of all levels in use, see
            `metrics.ActiveUnits`.
        test/active_units_top (latents): number of those of the top level.

    Raises:
        ValueError: an argument is out of its range, or two cannot be combined.
    """

    configure_callbacks = log_steps
    reads_views = False

    def __init__(
        self,
        channels: int = 1,
        image_size: int = 28,
        latent_dims: Sequence[int] = (40, 40),
        form: str = "independent",
        prior: str = "standard",
        encoder: str = "mlp",
        decoder: str = "mlp",
        features: int = 128,
        hidden_dims: Sequence[int] = (300,),
        level_dims: Sequence[int] = (128,),
        activation: str = "gelu",
        likelihood: str = "bernoulli",
        scale: float | str = "shared",
        kl_weight: float = 1.0,
        kl_warmup_steps: int = 0,
        free_bits: float = 0.0,
        iwae_samples: int = 500,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        decoder_kwargs: dict[str, Any] | None = None,
        prior_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self._check_arguments()
        dense, dims = (hidden_dims, activation), list(latent_dims)
        self.encoder = networks.image_encoder(
            encoder, channels, image_size, features, *dense, **(encoder_kwargs or {})
        )
        self.to_top = networks.mlp(features, *level_dims, 2 * dims[0], activation=activation)
        given = level_dims, activation, form
        self.levels = nn.ModuleList(
            Level(dim, sum(dims[: number + 1]), features, *given)
            for number, dim in enumerate(dims[1:])
        )
        pixels = likelihood, scale
        self.decoder = pixel_decoder(
            decoder, sum(dims), channels, image_size, *dense, *pixels, **(decoder_kwargs or {})
        )
        shape = (channels, image_size, image_size)
        self.prior = prior_of(prior, dims[0], shape, **(prior_kwargs or {}))
        self.exact_top = prior == "standard"
        self.prior.check_encoder(self.encoder)
        self.active_units, self.active_units_top = ActiveUnits(sum(dims)), ActiveUnits(dims[0])

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, the means of all levels: (B, C, H, W) -> (B, D)."""
        return self.draw(image, torch.zeros_like(self.posterior_noise(image))).z

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the top level: (B, C, H, W) -> 2 x (B, D of the top)."""
        mean, logvar = self.to_top(self.encoder(image)).chunk(2, 1)
        return mean, logvar

    def posterior_noise(self, image: Tensor, k: int | None = None) -> Tensor:
        """Noise of all levels for one draw, (B, D), or for k, (k, B, D)."""
        rows = (len(image),) if k is None else (k, len(image))
        options: Any = {"device": image.device, "dtype": image.dtype}
        return torch.cat(
            [torch.randn(*rows, d, **options) for d in self.hparams["latent_dims"]], -1
        )

    def draw(self, image: Tensor, noise: Tensor) -> Draw:
        """Latents from the posterior, from the top down, and their KL terms.

        Args:
            image: (B, C, H, W).
            noise: standard normal, (..., B, D of all levels); 0 gives the means, each given the
                means above.
        """
        return self._draw(self.encoder(image), noise, self.encode)

    def _draw(self, h: Tensor, noise: Tensor, encode: Encode) -> Draw:
        """`draw` from features (B, features)."""
        top, *below = noise.split(list(self.hparams["latent_dims"]), -1)
        mean, logvar = self.to_top(h).chunk(2, 1)  # (B, D)
        z, log_q = self._drawn(mean, logvar, top)
        log_p = self.prior.log_prob(z, encode)
        kl = losses.kl_standard_normal(mean, logvar).sum(1).expand_as(log_q)
        every = [kl if self.exact_top else log_q - log_p]
        log_ratio = log_p - log_q
        for level, own in zip(self.levels, below, strict=True):
            p = level.prior(z)  # type: ignore[operator]
            q = level.posterior(h, z, p)  # type: ignore[operator]
            new, log_q = self._drawn(q.mean, q.logvar, own)
            every.append(losses.kl_normal(*q, *p).sum(-1))
            log_ratio = log_ratio + losses.normal_log_prob(new, *p) - log_q
            z = torch.cat([z, new], -1)
        return Draw(z, torch.stack(every, -1), log_ratio)

    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z), a draw from ``pixelcnn``: (B, D) -> (B, C, H, W) in [0, 1]."""
        return self.decoder.mean(z)

    @torch.no_grad()
    def reconstruct(self, image: Tensor) -> Tensor:
        """Images through the levels' means: (B, C, H, W) -> (B, C, H, W) in [0, 1]."""
        return self.decode(self(image))

    @torch.no_grad()
    def sample(self, n: int, temperature: float = 1.0) -> Tensor:
        """Draw all levels from the top down, widened by ``temperature``, and decode."""
        z = self.prior.sample(n, temperature, self.encode)
        for level in self.levels:
            mean, logvar = level.prior(z)  # type: ignore[operator]
            noise = temperature * torch.randn_like(mean)
            z = torch.cat([z, mean + (0.5 * logvar).exp() * noise], 1)
        return self.decode(z)

    @torch.no_grad()
    def interpolate(
        self, start: Tensor, end: Tensor, steps: int, spherical: bool = False
    ) -> Tensor:
        """Lines or arcs between all levels' means: 2 x (B, C, H, W) -> (B, steps, C, H, W)."""
        paths = latent_path(self(start), self(end), steps, spherical)  # (B, steps, D)
        return torch.stack([self.decode(path) for path in paths])

    def on_fit_start(self) -> None:
        """Pseudo-inputs of a fresh VampPrior start from training images."""
        self.prior.prepare(data_of(self.trainer))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Negative ELBO with the recipe's weights, mean over the batch, in nats."""
        drawn = self.draw(batch["image"], self.posterior_noise(batch["image"]))
        reconstruction = self.decoder.nll(drawn.z, batch["image"]).mean()
        each = drawn.kl.mean(0)  # (levels,)
        loss_kl, minimum = each.sum(), self.hparams["free_bits"]
        weighed = losses.free_bits(drawn.kl, minimum) if minimum else loss_kl
        loss = reconstruction + self.beta() * weighed
        figures = {"loss": loss, "loss_reconstruction": reconstruction}
        return figures | levels_of("loss_kl", each)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Negative ELBO and its terms, by noise of the image's own."""
        draw = normal(sum(self.hparams["latent_dims"]))
        noise = for_images(draw, batch, training=False, stream=STREAM)["noise"]
        drawn = self.draw(batch["image"], noise)
        each = drawn.kl.mean(0)
        figures = {"reconstruction": self.decoder.nll(drawn.z, batch["image"]).mean()}
        figures |= levels_of("kl", each)
        return figures | {"loss": figures["reconstruction"] + figures["kl"]}

    @torch.no_grad()
    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Negative ELBO and its terms by the bound's samples, the IWAE bound, active units."""
        image, k = batch["image"], self.hparams["iwae_samples"]
        parts = draws_at_a_time(k, len(image))
        h, encode = self.encoder(image), once(self.encode)  # the latter of ``vamp``
        drawn = [self._draw(h, self.posterior_noise(image, part), encode) for part in parts]
        log_px = torch.cat([-self.decoder.nll(one.z, image) for one in drawn])  # (k, B)
        each = torch.cat([one.kl for one in drawn]).mean((0, 1))  # (levels,)
        log_w = log_px + torch.cat([one.log_ratio for one in drawn])
        nll, reconstruction = -losses.iwae_bound(log_w).mean(), -log_px.mean()
        figures = {"neg_elbo": reconstruction + each.sum(), "reconstruction": reconstruction}
        figures |= levels_of("kl", each) | {"iwae_nll": nll}
        bits = self.decoder.bits_per_dim(nll, image[0].numel())
        if bits is not None:
            figures["bits_per_dim"] = bits
        means = self._draw(h, torch.zeros_like(self.posterior_noise(image)), encode).z
        self.active_units.update(means)
        self.active_units_top.update(means[:, : self.hparams["latent_dims"][0]])
        return figures

    def on_test_epoch_end(self) -> None:
        """Active units over the whole set and all ranks."""
        for name in ("active_units", "active_units_top"):
            metric: Any = getattr(self, name)
            self.log(f"test/{name}", metric.compute(), sync_dist=True)
            metric.reset()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def beta(self) -> float:
        """Weight of the KL term at this optimiser step."""
        warmup = self.hparams["kl_warmup_steps"]
        return self.hparams["kl_weight"] * (min(1.0, self.global_step / warmup) if warmup else 1.0)

    def _drawn(self, mean: Tensor, logvar: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """A draw of a normal density and its log-density: (..., D), (...)."""
        z = mean + (0.5 * logvar).exp() * noise
        return z, losses.normal_log_prob(z, mean, logvar)

    def _check_arguments(self) -> None:
        given = self.hparams
        if len(given["latent_dims"]) < 2 or min(given["latent_dims"]) < 1:
            raise ValueError(
                f"latent_dims {list(given['latent_dims'])} must be two sizes or more, of at least 1"
            )
        least = {"features": 1, "iwae_samples": 1, "kl_weight": 0, "kl_warmup_steps": 0}
        for name, minimum in (least | {"free_bits": 0}).items():
            if given[name] < minimum:
                raise ValueError(f"{name} must be at least {minimum}, got {given[name]}")


def levels_of(name: str, kl: Tensor) -> dict[str, Tensor]:
    """Metrics of the levels' KL terms, (levels,), the top one first: their sum and each alone."""
    return {name: kl.sum()} | {f"{name}_{number}": one for number, one in enumerate(kl, 1)}
