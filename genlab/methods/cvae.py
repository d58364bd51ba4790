"""CVAE: a VAE that knows the class, in the two forms that go by the name.

``standard`` and ``learned``: encoder and decoder see the label; the prior is p(z) or a learned
p(z|y) (Sohn, Lee, Yan 2015, "Learning structured output representation using deep conditional
generative models"). ``class_mean``: the networks do not see the label; each class has a learned
mean, and the KL goes to N(mu_y, 1) (Su 2018, github.com/bojone/vae). Departures: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from genlab import losses, networks, optim
from genlab.augment.draws import for_images, normal
from genlab.contracts import Batch
from genlab.internals import torch_parts
from genlab.metrics import log_steps
from genlab.networks.interpolation import latent_path

PRIORS = ("standard", "learned", "class_mean")
STREAM = 114  # of validation's draws


class CVAE(L.LightningModule):
    """Class-conditional variational autoencoder.

    Args:
        num_classes: number of labels.
        channels: C of the images.
        image_size: H = W in pixels.
        latent_dim: D of z.
        prior: ``standard``, ``learned`` or ``class_mean``; see above.
        encoder: ``mlp``, ``conv`` or a timm name; see `networks.image_encoder`.
        decoder: ``mlp`` or ``conv``.
        hidden_dims: widths of the dense layers of the encoder; the decoder's run reversed.
        activation: activation of the dense layers, by name.
        likelihood: distribution of a pixel: ``bernoulli``, ``gaussian`` or
            ``discretized_logistic``.
        scale: the standard deviation of the latter two.
        kl_weight: beta.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder's network.
        decoder_kwargs: arguments of the decoder's network.

    Logs:
        train/loss (nats, lower): negative ELBO of p(x|y), loss_reconstruction + beta loss_kl.
        train/loss_reconstruction, val/reconstruction, test/reconstruction (nats, lower): -log
            p(x|z, y), z drawn from q, summed over pixels.
        train/loss_kl, val/kl, test/kl (nats): KL(q(z|x, y) || p(z|y)), summed over latents.
        val/loss, test/neg_elbo (nats, lower): negative ELBO of p(x|y), reconstruction + kl: beta =
            1.

    Raises:
        ValueError: an argument is out of its range; in training, an image without a label.
    """

    configure_callbacks = log_steps
    reads_views = False

    def __init__(
        self,
        num_classes: int = 10,
        channels: int = 1,
        image_size: int = 28,
        latent_dim: int = 16,
        prior: str = "standard",
        encoder: str = "mlp",
        decoder: str = "mlp",
        hidden_dims: Sequence[int] = (512,),
        activation: str = "relu",
        likelihood: str = "bernoulli",
        scale: float = 1.0,
        kl_weight: float = 1.0,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        decoder_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if latent_dim < 1 or num_classes < 1:
            raise ValueError(
                f"latent_dim and num_classes must be at least 1, got {latent_dim}, {num_classes}"
            )
        if prior not in PRIORS:
            raise ValueError(f"unknown prior {prior!r}; choose from {', '.join(PRIORS)}")
        losses.maps_per_channel(likelihood, scale)
        self.num_classes, self.sees_label = num_classes, prior != "class_mean"
        seen, dense = int(self.sees_label), (hidden_dims, activation)
        self.class_map = networks.ClassMap(num_classes, image_size) if seen else None
        self.encoder = networks.image_encoder(
            encoder, channels + seen, image_size, 2 * latent_dim, *dense, **(encoder_kwargs or {})
        )
        width = latent_dim + seen * num_classes
        self.decoder = networks.image_decoder(
            decoder, width, channels, image_size, *dense, **(decoder_kwargs or {})
        )
        self._make_prior(prior, num_classes, latent_dim)

    def _make_prior(self, prior: str, num_classes: int, latent_dim: int) -> None:
        """Tables of each class's mean and log-variance, as far as the prior has them."""
        self.prior_mean = nn.Embedding(num_classes, latent_dim) if prior != "standard" else None
        self.prior_logvar = nn.Embedding(num_classes, latent_dim) if prior == "learned" else None
        for table in (self.prior_mean, self.prior_logvar):
            if table is not None:
                nn.init.zeros_(table.weight)
        if prior == "class_mean" and self.prior_mean is not None:
            nn.init.normal_(self.prior_mean.weight)  # equal means would never part by themselves

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Features for downstream use, the posterior's mean: (B, C, H, W) -> (B, D).

        Where the encoder sees labels and none is given, the mean over all classes' posteriors.
        """
        if label is not None or not self.sees_label:
            return self.encode(image, label)[0]
        every = [torch.full((len(image),), k, device=image.device) for k in range(self.num_classes)]
        return torch.stack([self.encode(image, y)[0] for y in every]).mean(0)

    def encode(self, image: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x, y): (B, C, H, W), (B,) -> 2 x (B, D)."""
        if self.class_map is not None:
            if label is None:
                raise ValueError("encode requires labels, because the encoder sees them")
            image = self.class_map(image, label)
        mean, logvar = self.encoder(image).chunk(2, dim=1)
        return mean, logvar

    def decode(self, z: Tensor, label: Tensor) -> Tensor:
        """The mean of p(x|z, y): (B, D), (B,) -> (B, C, H, W) in [0, 1]."""
        maps = self._maps(z, label)
        return losses.pixel_mean(self.hparams["likelihood"], maps, self.hparams["channels"])

    @torch.no_grad()
    def reconstruct(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Images through the posterior's mean: (B, C, H, W), (B,) -> (B, C, H, W) in [0, 1].

        Without labels, each image is given the class that explains it best.
        """
        label = self.classify(image) if label is None else label
        return self.decode(self(image, label), label)

    @torch.no_grad()
    def classify(self, image: Tensor) -> Tensor:
        """The class of the highest ELBO, taken at the posterior's mean: (B, C, H, W) -> (B,)."""
        costs = []
        for k in range(self.num_classes):
            label = torch.full((len(image),), k, device=image.device)
            mean, logvar = self.encode(image, label)
            kl = losses.kl_normal(mean, logvar, *self._prior(label)).sum(1)
            costs.append(kl + self._nll(mean, image, label))
        return torch.stack(costs).argmin(0)

    @torch.no_grad()
    def sample(self, n: int, label: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draw z from the classes' priors and decode: (n, C, H, W) in [0, 1].

        Args:
            n: number of images.
            label: classes (n,); by default all in turn.
            temperature: widens or narrows the prior around its mean.
        """
        if label is None:
            label = torch.arange(n) % self.num_classes
        label = label.to(self.device)
        mean, logvar = self._prior(label)
        noise = torch.randn(n, self.hparams["latent_dim"], device=self.device)
        return self.decode(mean + temperature * (0.5 * logvar).exp() * noise, label)

    @torch.no_grad()
    def swap_styles(self, image: Tensor, label: Tensor) -> Tensor:
        """Each image's style in every class: (B, C, H, W), (B,) -> (B, num_classes, C, H, W).

        The style is z less the mean of its class's prior (zero with the standard prior).
        """
        z = self(image, label)
        rows = []
        for k in range(self.num_classes):
            y = torch.full_like(label, k)
            moved = z - self._prior(label)[0] + self._prior(y)[0]
            rows.append(self.decode(moved, y))
        return torch.stack(rows, dim=1)

    @torch.no_grad()
    def interpolate(
        self, start: Tensor, end: Tensor, steps: int, label: Tensor, spherical: bool = False
    ) -> Tensor:
        """Lines or arcs between styles in the first image's class: -> (B, steps, C, H, W)."""
        paths = latent_path(self(start, label), self(end, label), steps, spherical)
        return torch.stack(
            [self.decode(p, y.expand(steps)) for p, y in zip(paths, label, strict=True)]
        )

    def reparametrize(self, mean: Tensor, logvar: Tensor, noise: Tensor | None = None) -> Tensor:
        """Draw z ~ q with a gradient, by fresh noise unless some is given: 3 x (B, D) -> (B, D)."""
        noise = torch.randn_like(mean) if noise is None else noise
        return mean + (0.5 * logvar).exp() * noise

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Negative ELBO of p(x|y), mean over the batch, in nats."""
        reconstruction, kl = self._elbo_terms(batch)
        loss = reconstruction + self.hparams["kl_weight"] * kl
        return {"loss": loss, "loss_reconstruction": reconstruction, "loss_kl": kl}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Negative ELBO (beta = 1) and its two terms, by noise of the image's own."""
        draw = normal(self.hparams["latent_dim"])
        noise = for_images(draw, batch, training=False, stream=STREAM)["noise"]
        reconstruction, kl = self._elbo_terms(batch, noise)
        return {"loss": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As validation; the bound is called ``neg_elbo``."""
        figures = self.validation_step(batch, batch_idx)
        return {"neg_elbo": figures.pop("loss")} | figures

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _maps(self, z: Tensor, label: Tensor) -> Tensor:
        if self.sees_label:
            one_hot = label[:, None] == torch.arange(self.num_classes, device=label.device)
            z = torch.cat([z, one_hot.to(z.dtype)], dim=1)  # (B, D + K)
        return self.decoder(z)

    def _prior(self, label: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of p(z|y): (B,) -> 2 x (B, D)."""
        zeros = torch.zeros(len(label), self.hparams["latent_dim"], device=label.device)
        mean = self.prior_mean(label) if self.prior_mean is not None else zeros
        logvar = self.prior_logvar(label) if self.prior_logvar is not None else zeros
        return mean, logvar

    def _elbo_terms(self, batch: Batch, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        image, label = batch["image"], batch["label"]  # (B, C, H, W), (B,)
        wrong = (label < 0) | (label >= self.num_classes)
        if torch_parts.on_host(label) and bool(wrong.any()):  # a GPU would have to wait
            raise ValueError(f"CVAE requires labels from 0 to {self.num_classes - 1} (-1: unknown)")
        mean, logvar = self.encode(image, label)  # 2 x (B, D)
        kl = losses.kl_normal(mean, logvar, *self._prior(label)).sum(1).mean()
        return self._nll(self.reparametrize(mean, logvar, noise), image, label).mean(), kl

    def _nll(self, z: Tensor, image: Tensor, label: Tensor) -> Tensor:
        """-log p(x|z, y): -> (B,)."""
        scale, likelihood = float(self.hparams["scale"]), self.hparams["likelihood"]
        return losses.pixel_nll(likelihood, self._maps(z, label), image, scale)
