"""VAE: an encoder and a decoder trained together to bound the likelihood of the images.

Kingma & Welling 2013, arXiv:1312.6114; beta: Higgins et al. 2017; free bits: Kingma et al. 2016,
arXiv:1606.04934; importance-weighted training: Burda et al. 2015, arXiv:1509.00519; gradient
through the sample only ("sticking the landing"): Roeder, Wu, Duvenaud 2017, arXiv:1703.09194; total
correlation: Chen et al. 2018, arXiv:1802.04942; posterior collapse: Chen et al. 2016,
arXiv:1611.02731. Priors and posteriors: `networks.latents`, with their papers.
Departures: free bits bound each latent's batch mean (the paper: groups of feature maps). With
iw_samples > 1 the path gradient is biased (Tucker et al. 2018, arXiv:1810.04152), and still helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import distributed, losses, networks, optim
from genlab.augment.draws import rows_of_this_rank
from genlab.contracts import Batch, data_of, training_images
from genlab.metrics import ActiveUnits, log_steps
from genlab.networks.autoencoders.pixel_decoders import pixel_decoder
from genlab.networks.interpolation import latent_path
from genlab.networks.latents.choice import check_objective, latents
from genlab.networks.latents.posteriors import draws_at_a_time
from genlab.networks.latents.priors import Encode, once

OF_BATCH = dict.fromkeys(("order", "repeat"), "total correlation compares an image with the next")


class VAE(L.LightningModule):
    """Variational autoencoder.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        latent_dim: D of z.
        encoder: ``mlp``, ``conv`` or a timm name; see `networks.image_encoder`.
        decoder: ``mlp``, ``conv``, or ``pixelcnn``, which needs z the less the further back its
            layers look.
        hidden_dims: widths of the dense layers of the encoder; the decoder's run reversed.
        activation: activation of the dense layers, by name.
        likelihood: distribution of a pixel: ``bernoulli``, ``gaussian`` or
            ``discretized_logistic``.
        scale: scale of the latter two: a number, ``shared`` (one learned value per channel) or
            ``pixel`` (the decoder's choice at every pixel).
        prior: ``standard``, ``mixture``, ``vamp`` or ``flow``; see `networks.latents.priors`.
        posterior: ``gaussian``, ``full`` (covariance), ``iaf`` or ``categorical``, whose prior is
            equally likely categories; see `networks.latents.posteriors`.
        objective: ``beta``, or ``tc``: the KL term's total correlation alone is weighted.
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
        prior_kwargs: settings of the prior (``components``, ``steps`` ...).
        posterior_kwargs: settings of the posterior (``steps``, ``categories`` ...).

    Logs:
        train/loss (nats, lower): negative ELBO with the recipe's weights, loss_reconstruction +
            beta loss_kl (each latent at least ``free_bits``); with iw_samples > 1 the negative IWAE
            bound; with ``objective: tc`` loss_reconstruction + loss_mutual_information + beta
            loss_tc + loss_dim_kl.
        train/loss_reconstruction, val/reconstruction, test/reconstruction (nats, lower): -log
            p(x|z), z drawn from q(z|x), summed over pixels.
        train/loss_kl, val/kl, test/kl (nats): KL(q(z|x) || p(z)), summed over latents, exact where
            it is known, else log q(z|x) - log p(z) at one draw, which may be negative; 0 when z
            knows nothing of x.
        train/loss_mutual_information (nats): estimate of the mutual information of x and z.
        train/loss_tc (nats, lower): estimate of the latents' total correlation.
        train/loss_dim_kl (nats): estimate of the sum of the KL of each latent's q(z_d) to N(0, 1).
        val/loss, test/neg_elbo (nats, lower): negative ELBO, reconstruction + kl: beta = 1, no free
            bits, unlike train/loss; an upper bound of -log p(x).
        test/iwae_nll (nats, lower): -log (1/K sum_k p(x|z_k) p(z_k) / q(z_k|x)), K = iwae_samples;
            a tighter upper bound of -log p(x).
        test/bits_per_dim (bits, lower): iwae_nll / (C H W log 2), plus 8 of the density
            ``gaussian``; none of ``bernoulli``.
        test/active_units (latents): number of latents in use, see `metrics.ActiveUnits`: Var_x
            E[z_d|x] > 0.01; ``iaf`` takes z without noise for its mean, ``categorical`` counts
            categories.

    Raises:
        ValueError: an argument is out of its range, or two cannot be combined.
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
        prior: str = "standard",
        posterior: str = "gaussian",
        objective: str = "beta",
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
        prior_kwargs: dict[str, Any] | None = None,
        posterior_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_objective(self.hparams)
        shape, dense = (channels, image_size), (hidden_dims, activation)
        both = latents(
            latent_dim, (*shape, image_size), prior, posterior, prior_kwargs, posterior_kwargs
        )
        self.exact_kl = prior == "standard" and both[1].exact_kl
        self.encoder = networks.image_encoder(
            encoder, *shape, both[1].size, *dense, **(encoder_kwargs or {})
        )
        given = likelihood, scale
        self.decoder = pixel_decoder(
            decoder, both[1].code_dim, *shape, *dense, *given, **(decoder_kwargs or {})
        )
        self.prior, self.posterior = both
        self.prior.check_encoder(self.encoder)
        self.active_units = ActiveUnits(self.posterior.code_dim)
        if objective == "tc":  # accumulation does not enlarge the batch that it compares
            self.loss_of_batch, self.law_exceptions = True, OF_BATCH

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, the posterior's mean: (B, C, H, W) -> (B, D)."""
        return self.posterior.centre(self.encoder(image))

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), before the steps of ``iaf``: -> 2 x (B, D)."""
        return self.posterior.moments(self.encoder(image))

    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z), a draw from ``pixelcnn``: (B, D) -> (B, C, H, W) in [0, 1]."""
        return self.decoder.mean(z)

    @torch.no_grad()
    def reconstruct(self, image: Tensor) -> Tensor:
        """Images through the posterior's mean: (B, C, H, W) -> (B, C, H, W) in [0, 1]."""
        return self.decode(self(image))

    @torch.no_grad()
    def sample(self, n: int, temperature: float = 1.0) -> Tensor:
        """Draw z from the prior, widened by ``temperature``, and decode: (n, C, H, W) in [0, 1]."""
        return self.decode(self.prior.sample(n, temperature, self.encode))

    @torch.no_grad()
    def interpolate(
        self, start: Tensor, end: Tensor, steps: int, spherical: bool = False
    ) -> Tensor:
        """Lines or arcs between posterior means: 2 x (B, C, H, W) -> (B, steps, C, H, W)."""
        paths = latent_path(self(start), self(end), steps, spherical)  # (B, steps, D)
        return torch.stack([self.decode(path) for path in paths])

    def on_fit_start(self) -> None:
        """Pseudo-inputs of a fresh VampPrior start from training images."""
        self.prior.prepare(data_of(self.trainer))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Negative ELBO, or negative IWAE bound, mean over the batch, in nats."""
        image = batch["image"]  # (B, C, H, W)
        raw = self.encoder(image)  # (B, numbers of the posterior)
        k = self.hparams["iw_samples"] if self.global_step >= self.hparams["iw_start_step"] else 1
        if k > 1 or self.hparams["path_gradient"]:
            return self._sampled_bound(image, raw, k)
        z, log_q = self.posterior(raw, self.posterior.noise(raw))  # (B, D), (B,)
        kl = self._kl(raw, z, log_q)  # (B, D) or (B, 1)
        reconstruction, loss_kl = self.nll(z, image).mean(), kl.sum(1).mean()
        figures = {"loss_reconstruction": reconstruction, "loss_kl": loss_kl}
        if self.hparams["objective"] == "tc":
            information, tc, dim_kl = self._kl_parts(raw, z, log_q)
            figures |= {"loss_mutual_information": information, "loss_tc": tc}
            total = information + self.beta() * tc + dim_kl
            return {"loss": reconstruction + total, "loss_dim_kl": dim_kl} | figures
        minimum = self.hparams["free_bits"]
        weighed = self.beta() * (losses.free_bits(kl, minimum) if minimum else loss_kl)
        return {"loss": reconstruction + weighed} | figures

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Negative ELBO (beta = 1, no free bits) and its two terms, by noise of the image's own."""
        raw = self.encoder(batch["image"])
        z, log_q = self.posterior(raw, self.posterior.own_noise(batch))
        kl = self._kl(raw, z, log_q).sum(1).mean()
        reconstruction = self.nll(z, batch["image"]).mean()
        return {"loss": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Negative ELBO and its terms, the IWAE bound, bits/dim and active units.

        The reconstruction term, and the KL term if it is not exact, are means over the bound's
        samples.
        """
        image = batch["image"]  # (B, C, H, W)
        raw = self.encoder(image)
        ratio, log_px = self._many_log_weights(image, raw, self.hparams["iwae_samples"])  # (k, B)
        kl = self.posterior.kl(raw).sum(1).mean() if self.exact_kl else -ratio.mean()
        nll, reconstruction = -losses.iwae_bound(log_px + ratio).mean(), -log_px.mean()
        figures = {"neg_elbo": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}
        figures["iwae_nll"] = nll
        bits = self.decoder.bits_per_dim(nll, image[0].numel())
        if bits is not None:
            figures["bits_per_dim"] = bits
        self.active_units.update(self.posterior.centre(raw))
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
        return self.decoder.nll(z, image)

    def beta(self) -> float:
        """Weight of the KL term at this optimiser step."""
        warmup = self.hparams["kl_warmup_steps"]
        return self.hparams["kl_weight"] * (min(1.0, self.global_step / warmup) if warmup else 1.0)

    @torch.no_grad()
    def iwae(self, image: Tensor, k: int) -> Tensor:
        """The bound of log p(x) with k samples: (B, C, H, W) -> (B,)."""
        ratio, log_px = self._many_log_weights(image, self.encoder(image), k)
        return losses.iwae_bound(log_px + ratio)

    def _kl(self, raw: Tensor, z: Tensor, log_q: Tensor) -> Tensor:
        """The KL term, of each latent (B, D), or at the draw z (B, 1)."""
        if self.exact_kl:
            return self.posterior.kl(raw)
        return (log_q - self.prior.log_prob(z, self.encode))[:, None]

    def _kl_parts(self, raw: Tensor, z: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Information, total correlation and the latents' own KL, of the global batch's q(z)."""
        found = training_images(data_of(self.trainer))
        if found is None:
            raise ValueError("objective tc requires a data module, whose images it counts")
        mean, logvar = (
            distributed.interleave(distributed.gather(x)) for x in self.posterior.moments(raw)
        )
        rows = torch.arange(len(mean), device=z.device)[rows_of_this_rank(len(z))[0]]
        weights = losses.stratified_log_weights(rows, len(mean), len(found))
        a, b, c = losses.kl_parts(z, log_q, mean, logvar, weights)
        return a.mean(), b.mean(), c.mean()

    def _many_log_weights(self, image: Tensor, raw: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """`_log_weights` without gradient, in parts: 2 x (K, B)."""
        parts = draws_at_a_time(k, len(image))
        with torch.no_grad():
            encode = once(self.encode)  # the pseudo-inputs of ``vamp``
            pairs = [self._log_weights(image, raw, part, encode) for part in parts]
        ratio, log_px = zip(*pairs, strict=True)
        return torch.cat(ratio), torch.cat(log_px)

    def _sampled_bound(self, image: Tensor, raw: Tensor, k: int) -> dict[str, Tensor]:
        """The IWAE bound with the KL term as log q(z|x) - log p(z) at the samples."""
        ratio, log_px = self._log_weights(image, raw, k, self.encode)  # 2 x (k, B)
        loss = -losses.iwae_bound(log_px + self.beta() * ratio).mean()
        kl = self.posterior.kl(raw).sum(1).mean() if self.exact_kl else -ratio.detach().mean()
        return {"loss": loss, "loss_reconstruction": -log_px.mean(), "loss_kl": kl}

    def _log_weights(
        self, image: Tensor, raw: Tensor, k: int, encode: Encode
    ) -> tuple[Tensor, Tensor]:
        """Log p(z) - log q(z|x), and log p(x|z), at k samples: 2 x (K, B)."""
        noise = self.posterior.noise(raw, k)
        z, log_q = self.posterior(raw, noise, self.hparams["path_gradient"])  # (K, B, D), (K, B)
        return self.prior.log_prob(z, encode) - log_q, -self.nll(z, image)
