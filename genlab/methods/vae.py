"""VAE: an encoder and a decoder trained together to bound the likelihood of the images.

Kingma & Welling 2013, arXiv:1312.6114; beta: Higgins et al. 2017; free bits: Kingma et al. 2016,
arXiv:1606.04934; importance-weighted training: Burda et al. 2015, arXiv:1509.00519; gradient
through the sample only ("sticking the landing"): Roeder, Wu, Duvenaud 2017, arXiv:1703.09194.
Departures: free bits bound each latent's batch mean (the paper: groups of feature maps). With
iw_samples > 1 the path gradient is biased (Tucker et al. 2018, arXiv:1810.04152), and still helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import losses, networks, optim
from genlab.contracts import Batch
from genlab.metrics import ActiveUnits, log_steps
from genlab.networks.interpolation import latent_path

ROWS = 4096  # codes decoded at a time in the IWAE bound; more leave the cache, 1.6 times slower


class VAE(L.LightningModule):
    """Variational autoencoder with a standard normal prior.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        latent_dim: D of z.
        encoder: ``mlp``, ``conv`` or a timm name; see `networks.image_encoder`.
        decoder: ``mlp`` or ``conv``.
        hidden_dims: widths of the dense layers of the encoder; the decoder's run reversed.
        activation: activation of the dense layers, by name.
        likelihood: distribution of a pixel: ``bernoulli``, ``gaussian`` or
            ``discretized_logistic``.
        scale: scale of the latter two: a number, ``shared`` (one learned value per channel) or
            ``pixel`` (the decoder's choice at every pixel).
        kl_weight: beta.
        kl_warmup_steps: optimiser steps over which beta rises linearly from 0.
        free_bits: nats that each latent may cost for free; with the ELBO only.
        iw_samples: K of the importance-weighted bound that replaces the ELBO in training.
        iw_start_step: optimiser step from which it does.
        path_gradient: differentiate log q(z|x) through z only: less noise near the optimum.
        iwae_samples: K of the bound reported on the test set.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder's network.
        decoder_kwargs: arguments of the decoder's network.

    Logs:
        train/loss (nats, lower): negative ELBO with the recipe's weights, loss_reconstruction +
            beta loss_kl (each latent at least ``free_bits``); with iw_samples > 1 the negative IWAE
            bound.
        train/loss_reconstruction, val/reconstruction, test/reconstruction (nats, lower): -log
            p(x|z), z drawn from q(z|x), summed over pixels.
        train/loss_kl, val/kl, test/kl (nats): KL(q(z|x) || N(0, 1)), summed over latents; 0 when z
            knows nothing of x.
        val/loss, test/neg_elbo (nats, lower): negative ELBO, reconstruction + kl: beta = 1, no free
            bits; an upper bound of -log p(x).
        test/iwae_nll (nats, lower): -log (1/K sum_k p(x|z_k) p(z_k) / q(z_k|x)), K = iwae_samples;
            a tighter upper bound of -log p(x).
        test/bits_per_dim (bits, lower): iwae_nll / (C H W log 2), plus 8 of the density
            ``gaussian``; none of ``bernoulli``.
        test/active_units (latents): number of latents in use, see `metrics.ActiveUnits`: Var_x
            E[z_d|x] > 0.01.

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
        scale: float | str = "shared",
        kl_weight: float = 1.0,
        kl_warmup_steps: int = 0,
        free_bits: float = 0.0,
        iw_samples: int = 1,
        iw_start_step: int = 0,
        path_gradient: bool = False,
        iwae_samples: int = 500,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        decoder_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        for name in ("latent_dim", "iw_samples", "iwae_samples"):
            if self.hparams[name] < 1:
                raise ValueError(f"{name} must be at least 1, got {self.hparams[name]}")
        for name in ("kl_weight", "kl_warmup_steps", "free_bits"):
            if self.hparams[name] < 0:
                raise ValueError(f"{name} must be at least 0, got {self.hparams[name]}")
        if free_bits and (iw_samples > 1 or path_gradient):
            raise ValueError("free_bits requires iw_samples=1 and path_gradient=false")
        maps = losses.maps_per_channel(likelihood, scale)
        shape, dense = (channels, image_size), (hidden_dims, activation)
        self.encoder = networks.image_encoder(
            encoder, *shape, 2 * latent_dim, *dense, **(encoder_kwargs or {})
        )
        wide = channels * (maps if scale == "pixel" else 1)
        self.decoder = networks.image_decoder(
            decoder, latent_dim, wide, image_size, *dense, **(decoder_kwargs or {})
        )
        if scale == "shared" and likelihood != "bernoulli":
            self.decoder = networks.SharedScale(self.decoder, channels, start=-1.0)
        self.fixed_scale = 1.0 if isinstance(scale, str) else float(scale)
        self.active_units = ActiveUnits(latent_dim)

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, the posterior's mean: (B, C, H, W) -> (B, D)."""
        return self.encode(image)[0]

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x): (B, C, H, W) -> 2 x (B, D)."""
        mean, logvar = self.encoder(image).chunk(2, dim=1)
        return mean, logvar

    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z): (B, D) -> (B, C, H, W) in [0, 1]."""
        maps = self.decoder(z)
        return losses.pixel_mean(self.hparams["likelihood"], maps, self.hparams["channels"])

    @torch.no_grad()
    def reconstruct(self, image: Tensor) -> Tensor:
        """Images through the posterior's mean: (B, C, H, W) -> (B, C, H, W) in [0, 1]."""
        return self.decode(self(image))

    @torch.no_grad()
    def sample(self, n: int, temperature: float = 1.0) -> Tensor:
        """Draw z from the prior, widened by ``temperature``, and decode: (n, C, H, W) in [0, 1]."""
        z = torch.randn(n, self.hparams["latent_dim"], device=self.device)
        return self.decode(temperature * z)

    @torch.no_grad()
    def interpolate(
        self, start: Tensor, end: Tensor, steps: int, spherical: bool = False
    ) -> Tensor:
        """Lines or arcs between posterior means: 2 x (B, C, H, W) -> (B, steps, C, H, W)."""
        paths = latent_path(self(start), self(end), steps, spherical)  # (B, steps, D)
        return torch.stack([self.decode(path) for path in paths])

    def reparametrize(self, mean: Tensor, logvar: Tensor) -> Tensor:
        """Draw z ~ q(z|x) with a gradient: 2 x (..., D) -> (..., D)."""
        return mean + (0.5 * logvar).exp() * torch.randn_like(mean)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Negative ELBO, or negative IWAE bound, mean over the batch, in nats."""
        image = batch["image"]  # (B, C, H, W)
        mean, logvar = self.encode(image)  # 2 x (B, D)
        k = self.hparams["iw_samples"] if self.global_step >= self.hparams["iw_start_step"] else 1
        if k > 1 or self.hparams["path_gradient"]:
            return self._sampled_bound(image, mean, logvar, k)
        kl = losses.kl_standard_normal(mean, logvar)  # (B, D)
        reconstruction = self.nll(self.reparametrize(mean, logvar), image).mean()
        minimum, loss_kl = self.hparams["free_bits"], kl.sum(1).mean()
        loss = reconstruction + self.beta() * (
            losses.free_bits(kl, minimum) if minimum else loss_kl
        )
        return {"loss": loss, "loss_reconstruction": reconstruction, "loss_kl": loss_kl}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Negative ELBO (beta = 1, no free bits) and its two terms."""
        mean, logvar = self.encode(batch["image"])  # 2 x (B, D)
        kl = losses.kl_standard_normal(mean, logvar).sum(1).mean()
        reconstruction = self.nll(self.reparametrize(mean, logvar), batch["image"]).mean()
        return {"loss": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Negative ELBO and its terms, the IWAE bound, bits/dim and active units.

        The reconstruction term is the mean over the bound's samples.
        """
        image = batch["image"]  # (B, C, H, W)
        mean, logvar = self.encode(image)  # 2 x (B, D)
        kl = losses.kl_standard_normal(mean, logvar).sum(1).mean()
        k = self.hparams["iwae_samples"]
        log_w, log_px = self._many_log_weights(image, mean, logvar, k)  # 2 x (k, B)
        nll, reconstruction = -losses.iwae_bound(log_w).mean(), -log_px.mean()
        figures = {"neg_elbo": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}
        figures["iwae_nll"] = nll
        bits = losses.bits_per_dim(self.hparams["likelihood"], nll, image[0].numel())
        if bits is not None:
            figures["bits_per_dim"] = bits
        self.active_units.update(mean)
        return figures

    def on_test_epoch_end(self) -> None:
        """Active units over the whole set and all ranks."""
        self.log("test/active_units", self.active_units.compute(), sync_dist=True)
        self.active_units.reset()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def nll(self, z: Tensor, image: Tensor) -> Tensor:
        """-log p(x|z): (B, D), (B, C, H, W) -> (B,); or (K, B, D) -> (K, B)."""
        maps = self.decoder(z.flatten(0, -2)).unflatten(0, z.shape[:-1])
        return losses.pixel_nll(self.hparams["likelihood"], maps, image, self.fixed_scale)

    def beta(self) -> float:
        """Weight of the KL term at this optimiser step."""
        warmup = self.hparams["kl_warmup_steps"]
        return self.hparams["kl_weight"] * (min(1.0, self.global_step / warmup) if warmup else 1.0)

    @torch.no_grad()
    def iwae(self, image: Tensor, k: int) -> Tensor:
        """The bound of log p(x) with k samples: (B, C, H, W) -> (B,)."""
        return losses.iwae_bound(self._many_log_weights(image, *self.encode(image), k)[0])

    def _many_log_weights(
        self, image: Tensor, mean: Tensor, logvar: Tensor, k: int
    ) -> tuple[Tensor, Tensor]:
        """`_log_weights` without gradient, about `ROWS` decoded codes at a time: 2 x (K, B)."""
        step = max(1, ROWS // len(image))
        parts = [min(step, k - done) for done in range(0, k, step)]
        with torch.no_grad():
            pairs = [self._log_weights(image, mean, logvar, part) for part in parts]
        log_w, log_px = zip(*pairs, strict=True)
        return torch.cat(log_w), torch.cat(log_px)

    def _sampled_bound(
        self, image: Tensor, mean: Tensor, logvar: Tensor, k: int
    ) -> dict[str, Tensor]:
        """The IWAE bound with the KL term as log q(z|x) - log p(z) at the samples."""
        log_w, log_px = self._log_weights(image, mean, logvar, k, self.beta())  # 2 x (k, B)
        loss, reconstruction = -losses.iwae_bound(log_w).mean(), -log_px.mean()
        kl = losses.kl_standard_normal(mean, logvar).sum(1).mean()
        return {"loss": loss, "loss_reconstruction": reconstruction, "loss_kl": kl}

    def _log_weights(
        self, image: Tensor, mean: Tensor, logvar: Tensor, k: int, beta: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Log p(x|z) + beta (log p(z) - log q(z|x)), and log p(x|z), at k samples: 2 x (K, B)."""
        mean, logvar = mean.expand(k, -1, -1), logvar.expand(k, -1, -1)
        z = self.reparametrize(mean, logvar)  # (K, B, D)
        if self.hparams["path_gradient"]:
            mean, logvar = mean.detach(), logvar.detach()
        log_px = -self.nll(z, image)
        zero = torch.zeros((), device=z.device, dtype=z.dtype)
        log_ratio = losses.normal_log_prob(z, zero, zero) - losses.normal_log_prob(z, mean, logvar)
        return log_px + beta * log_ratio, log_px
