"""M2: a VAE with a class as a second latent, which a classifier infers where it is not known.

Kingma, Rezende, Mohamed, Welling 2014, arXiv:1406.5298; reference code dpkingma/nips14-ssl.
Departures: the bound is a mean over the images of a batch, whatever the share of labelled ones in
it; the code gives both parts of the data their own number of images. The classifier is any encoder
with a linear head, and the other networks have no prior on their weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab import losses, networks, optim
from genlab.augment.draws import for_images, normal
from genlab.augment.pairs import two_streams
from genlab.contracts import Batch
from genlab.metrics import ClassReport, log_steps

STREAM = 115  # of validation's draws


class M2(L.LightningModule):
    """A classifier and a generator of few labelled and many unlabelled images.

    Takes ``data.labels``. p(x, y, z) = p(x|y, z) p(y) p(z) with equal classes and a standard normal
    z; q(y, z|x) = q(z|x, y) q(y|x). An unlabelled image goes through the decoder in every class.

    Args:
        num_classes: number of labels K.
        channels: C of the images.
        image_size: H = W in pixels.
        latent_dim: D of z.
        encoder: name of the backbone of q(y|x); see `networks.encoder`.
        posterior: network of q(z|x, y): ``mlp``, ``conv`` or a timm name; see
            `networks.image_encoder`.
        decoder: network of p(x|y, z): ``mlp`` or ``conv``.
        hidden_dims: widths of the dense layers of ``posterior``; the decoder's run reversed.
        activation: activation of the dense layers, by name.
        likelihood: distribution of a pixel: ``bernoulli``, ``gaussian`` or
            ``discretized_logistic``.
        scale: the standard deviation of the latter two.
        class_weight: alpha of the labelled images' cross entropy; the paper: 0.1 N over a sum of N
            images, 0.1 here.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``variant``, ``width`` ...).
        posterior_kwargs: arguments of the network of q(z|x, y).
        decoder_kwargs: arguments of the decoder's network.
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss (nats, lower): mean of both bounds over all images, plus alpha
            loss_classification.
        train/loss_labeled (nats, lower): negative bound of log p(x, y), mean over labelled images.
        train/loss_unlabeled (nats, lower): negative bound of log p(x), mean over unlabelled images.
        train/loss_classification (nats, lower): cross entropy of the labelled images.
        val/neg_elbo, test/neg_elbo (nats, lower): negative bound of log p(x), labels unseen.

    Raises:
        ValueError: an argument is out of its range, or an unknown network.
    """

    configure_callbacks = log_steps

    def __init__(
        self,
        num_classes: int = 10,
        channels: int = 1,
        image_size: int = 28,
        latent_dim: int = 50,
        encoder: str = "small_cnn",
        posterior: str = "mlp",
        decoder: str = "mlp",
        hidden_dims: Sequence[int] = (500,),
        activation: str = "softplus",
        likelihood: str = "bernoulli",
        scale: float = 1.0,
        class_weight: float = 0.1,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        posterior_kwargs: dict[str, Any] | None = None,
        decoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if latent_dim < 1 or num_classes < 2:
            raise ValueError(
                f"latent_dim {latent_dim} must be at least 1, num_classes {num_classes} at least 2"
            )
        if class_weight < 0:
            raise ValueError(f"class_weight must be at least 0, got {class_weight}")
        losses.maps_per_channel(likelihood, scale)
        self.num_classes, dense = num_classes, (hidden_dims, activation)
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.head = nn.Linear(self.encoder.out_dim, num_classes)
        self.class_map = networks.ClassMap(num_classes, image_size)
        self.posterior = networks.image_encoder(
            posterior, channels + 1, image_size, 2 * latent_dim, *dense, **(posterior_kwargs or {})
        )
        width = latent_dim + num_classes
        self.decoder = networks.image_decoder(
            decoder, width, channels, image_size, *dense, **(decoder_kwargs or {})
        )
        self.class_report = ClassReport(num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, the classifier's: (B, C, H, W) -> (B, F)."""
        return self.encoder(image)

    def logits(self, image: Tensor) -> Tensor:
        """Scores of q(y|x) before softmax: (B, C, H, W) -> (B, K)."""
        return self.head(self.encoder(image))

    def encode(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x, y): (B, C, H, W), (B,) -> 2 x (B, D)."""
        mean, logvar = self.posterior(self.class_map(image, label)).chunk(2, dim=1)
        return mean, logvar

    def decode(self, z: Tensor, label: Tensor) -> Tensor:
        """The mean of p(x|y, z): (B, D), (B,) -> (B, C, H, W) in [0, 1]."""
        likelihood, channels = self.hparams["likelihood"], self.hparams["channels"]
        return losses.pixel_mean(likelihood, self._maps(z, label), channels)

    @torch.no_grad()
    def reconstruct(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Images through the posterior's mean: (B, C, H, W), (B,) -> (B, C, H, W) in [0, 1].

        Without labels, each image is given the class that the classifier names.
        """
        label = self.logits(image).argmax(1) if label is None else label
        return self.decode(self.encode(image, label)[0], label)

    @torch.no_grad()
    def sample(self, n: int, label: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draw z from the prior and decode: (n, C, H, W) in [0, 1].

        Args:
            n: number of images.
            label: classes (n,); by default all in turn.
            temperature: standard deviation of z.
        """
        label = torch.arange(n) % self.num_classes if label is None else label
        z = temperature * torch.randn(n, self.hparams["latent_dim"], device=self.device)
        return self.decode(z, label.to(self.device))

    @torch.no_grad()
    def swap_styles(self, image: Tensor, label: Tensor) -> Tensor:
        """Each image's z in every class: (B, C, H, W), (B,) -> (B, K, C, H, W)."""
        z = self.encode(image, label)[0]
        every = [self.decode(z, torch.full_like(label, k)) for k in range(self.num_classes)]
        return torch.stack(every, dim=1)

    def bound(self, image: Tensor, label: Tensor, noise: Tensor | None = None) -> Tensor:
        """Bound of log p(x, y) in nats: (B, C, H, W), (B,) -> (B,).

        Args:
            image: images in [0, 1].
            label: their classes.
            noise: standard normal draws (B, D); fresh ones by default.
        """
        mean, logvar = self.encode(image, label)  # 2 x (B, D)
        noise = torch.randn_like(mean) if noise is None else noise
        z = mean + (0.5 * logvar).exp() * noise
        kl = losses.kl_standard_normal(mean, logvar).sum(1)
        return -self._nll(z, image, label) - kl - math.log(self.num_classes)

    def marginal_bound(
        self, image: Tensor, noise: Tensor | None = None, logits: Tensor | None = None
    ) -> Tensor:
        """Bound of log p(x) in nats, classes summed: (M, C, H, W) -> (M,).

        Args:
            image: images in [0, 1].
            noise: standard normal draws (M, D), the same for all classes; fresh ones by default.
            logits: scores of q(y|x) (M, K); by default those of a pass of these images alone.
        """
        logits = self.logits(image) if logits is None else logits  # (M, K)
        each = []
        for k in range(self.num_classes):
            label = torch.full((len(image),), k, device=image.device)
            each.append(self.bound(image, label, noise))
        q = logits.float().softmax(1)
        return (q * torch.stack(each, 1)).sum(1) + losses.prediction_entropy(logits)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Both negative bounds over B + M images, plus alpha times the cross entropy of B."""
        image, label, x, _ = two_streams(batch)
        logits = self.logits(torch.cat([image, x]))  # BN sees all
        logits_x, logits_u = logits.split([len(image), len(x)])  # (B, K), (M, K)
        loss_x = -self.bound(image, label).mean()
        loss_u = -self.marginal_bound(x, logits=logits_u).mean()
        loss_y = F.cross_entropy(logits_x.float(), label)

        both = (len(image) * loss_x + len(x) * loss_u) / (len(image) + len(x))
        loss = both + self.hparams["class_weight"] * loss_y
        found = {"loss_labeled": loss_x, "loss_unlabeled": loss_u, "loss_classification": loss_y}
        return {"loss": loss} | found

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The bound, by noise of the image's own; cross entropy and `classification_metrics`."""
        return self._measure("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As validation, with AUROC and the confusion matrix."""
        return self._measure("test", batch)

    def on_validation_epoch_end(self) -> None:
        """Metrics of the whole split, over all ranks."""
        self.log_dict(self.class_report.compute("val"), sync_dist=True)

    def on_test_epoch_end(self) -> None:
        """As validation."""
        self.log_dict(self.class_report.compute("test"), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _measure(self, split: str, batch: Batch) -> dict[str, Tensor]:
        draw = normal(self.hparams["latent_dim"])
        noise = for_images(draw, batch, training=False, stream=STREAM)["noise"]
        logits = self.logits(batch["image"])
        self.class_report.update(split, logits, batch["label"])
        return {"neg_elbo": -self.marginal_bound(batch["image"], noise, logits).mean()}

    def _maps(self, z: Tensor, label: Tensor) -> Tensor:
        one_hot = label[:, None] == torch.arange(self.num_classes, device=label.device)
        return self.decoder(torch.cat([z, one_hot.to(z.dtype)], dim=1))  # from (B, D + K)

    def _nll(self, z: Tensor, image: Tensor, label: Tensor) -> Tensor:
        """-log p(x|y, z): -> (B,)."""
        scale, likelihood = float(self.hparams["scale"]), self.hparams["likelihood"]
        return losses.pixel_nll(likelihood, self._maps(z, label), image, scale)
