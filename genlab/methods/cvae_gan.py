"""CVAE-GAN: a conditional VAE whose decoder is judged by the features of a critic and a classifier.

Bao, Chen, Wen, Li, Hua 2017, arXiv:1703.10155, algorithm 1. Departures: critic, classifier and
generator step in turn, where the paper takes all gradients at once; samples have the classes of the
batch; the means of all features are moving averages, where the critic's are the batch's in the
paper; reconstructions and samples together weigh as much as the real images in the critic's loss;
an average of the generator's weights is what samples and reconstructs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import losses, networks, optim
from genlab.augment.draws import for_images, normal
from genlab.contracts import Batch
from genlab.losses.numbers import precise
from genlab.methods._alternation import Alternation
from genlab.networks.gan.class_means import ClassMeans, class_sums, mean_gap
from genlab.networks.interpolation import latent_path
from genlab.networks.modes import statistics_kept

CODER, CRITIC, CLASSIFIER = 0, 1, 2  # optimisers
MEANS = ("critic_real", "critic_fake", "class_real", "class_fake")
ADAM = {"name": "adam", "lr": 2e-4, "betas": [0.5, 0.999]}
STREAM = 120  # of validation's draws


class CVAEGAN(Alternation):
    """Encoder, generator, critic and classifier, which see the class but for the critic.

    Every batch is a step of the critic, one of the classifier, on real images alone, and one of
    encoder and generator together, which counts; see `Alternation`.

    Args:
        num_classes: K of the data.
        channels, image_size: C of the images; H = W in pixels.
        latent_dim: D of z.
        encoder: ``mlp``, ``conv`` or a timm name; see `networks.image_encoder`.
        generator: ``mlp``, ``dcgan`` or ``resnet``; see `networks.generator`.
        critic: ``mlp``, ``dcgan`` or ``resnet``; see `networks.critic`. The classifier is the same
            network with a score for each class.
        hidden_dims: widths of the dense layers of the encoder.
        kl_weight: lambda 1 of the paper.
        reconstruction_weight: lambda 2, of the squared errors of pixels and of both features.
        critic_weight: lambda 3, of the distance of the critic's mean features.
        class_weight: lambda 4, of the distance of the classes' mean features.
        means_decay: decay of the moving averages of features.
        ema_decay: decay of the average of the generator's weights; 0 keeps the last ones.
        accumulate_grad_batches: parts of a batch in turn: same gradient (but for batch norm).
        gradient_clip_val: largest norm of each optimiser's gradient; null does not clip.
        optimizer: settings of all optimisers; see `optim.build`.
        encoder_kwargs, generator_kwargs, critic_kwargs: arguments of the networks.

    Logs:
        train/loss (score, lower): encoder's and generator's, the weighted sum of the five below.
        train/loss_kl, val/kl, test/kl (nats): KL(q(z|x, y) || N(0, I)), summed over latents.
        train/loss_reconstruction (squared intensity, lower): half the squared error of an image
            in [-1, 1], summed over pixels.
        train/loss_features (1, lower): half the squared errors of an image's features in critic
            and classifier, summed.
        train/loss_means (1, lower): half the squared distance of the critic's mean features of
            samples and real images.
        train/loss_class_means (1, lower): half the squared distance of the classifier's mean
            features of samples and real images, class by class.
        train/loss_critic (nats, lower): cross entropy of real images against fake ones.
        train/loss_classifier (nats, lower): cross entropy of the classes of real images.
        val/mse, test/mse (squared intensity, lower): squared error of a pixel in [0, 1], mean over
            pixels and images.
        val/sample_accuracy, test/sample_accuracy (fraction, higher): share of samples that the
            method's own classifier takes for the class asked for: it trained the generator, which
            makes this optimistic; `genlab evaluate --judge` asks another.

    Raises:
        ValueError: a value out of range; later, an image without a label.
    """

    def __init__(
        self,
        num_classes: int = 10,
        channels: int = 1,
        image_size: int = 28,
        latent_dim: int = 64,
        encoder: str = "conv",
        generator: str = "dcgan",
        critic: str = "dcgan",
        hidden_dims: Sequence[int] = (256,),
        kl_weight: float = 3.0,
        reconstruction_weight: float = 1.0,
        critic_weight: float = 1e-3,
        class_weight: float = 1e-3,
        means_decay: float = 0.9,
        ema_decay: float = 0.99,
        accumulate_grad_batches: int = 1,
        gradient_clip_val: float | None = None,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        generator_kwargs: dict[str, Any] | None = None,
        critic_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self._check_arguments()
        self.num_classes, shape = num_classes, (channels, image_size)
        self.class_map = networks.ClassMap(num_classes, image_size)
        self.encoder = networks.image_encoder(
            encoder, channels + 1, image_size, 2 * latent_dim, hidden_dims, **(encoder_kwargs or {})
        )
        self.generator = networks.generator(
            generator, latent_dim, *shape, num_classes, **(generator_kwargs or {})
        )
        self.critic = networks.critic(critic, *shape, **(critic_kwargs or {}))
        self.classifier = networks.critic(
            critic, *shape, outputs=num_classes, **(critic_kwargs or {})
        )
        self.generator_ema = networks.EMA(self.generator, ema_decay)
        by_critic = 1, self.critic.width, means_decay
        by_class = num_classes, self.classifier.width, means_decay
        self.critic_real, self.critic_fake = ClassMeans(*by_critic), ClassMeans(*by_critic)
        self.class_real, self.class_fake = ClassMeans(*by_class), ClassMeans(*by_class)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Features for downstream use, the posterior's mean: (B, C, H, W) -> (B, D).

        Without labels, that of the class which the classifier finds.
        """
        return self.encode(image, label)[0]

    def encode(self, image: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x, y): (B, C, H, W), (B,) -> 2 x (B, D)."""
        label = self.classify(image) if label is None else label
        mean, logvar = self.encoder(self.class_map(2 * image - 1, label)).chunk(2, dim=1)
        return mean, logvar

    @torch.no_grad()
    def classify(self, image: Tensor) -> Tensor:
        """The class of the highest score: (B, C, H, W) -> (B,)."""
        return self.classifier(2 * image - 1).argmax(1)

    @torch.no_grad()
    def decode(self, z: Tensor, label: Tensor) -> Tensor:
        """The average generator's images: (B, D), (B,) -> (B, C, H, W) in [0, 1]."""
        return (self.generator_ema.average(z, label) + 1) / 2

    @torch.no_grad()
    def reconstruct(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Images through the posterior's mean: (B, C, H, W), (B,) -> (B, C, H, W) in [0, 1]."""
        label = self.classify(image) if label is None else label
        return self.decode(self(image, label), label)

    @torch.no_grad()
    def sample(self, n: int, label: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draw z of standard deviation ``temperature`` and decode: (n, C, H, W).

        The classes are ``label`` (n,), by default all in turn.
        """
        label = torch.arange(n) % self.num_classes if label is None else label
        z = torch.randn(n, self.hparams["latent_dim"], device=self.device)
        return self.decode(temperature * z, label.to(self.device))

    @torch.no_grad()
    def swap_styles(self, image: Tensor, label: Tensor) -> Tensor:
        """Each image's style in every class: (B, C, H, W), (B,) -> (B, num_classes, C, H, W)."""
        z = self(image, label)
        rows = [self.decode(z, torch.full_like(label, k)) for k in range(self.num_classes)]
        return torch.stack(rows, dim=1)

    @torch.no_grad()
    def interpolate(
        self, start: Tensor, end: Tensor, steps: int, label: Tensor, spherical: bool = False
    ) -> Tensor:
        """Lines or arcs between styles in the first image's class: -> (B, steps, C, H, W)."""
        paths = latent_path(self(start, label), self(end, label), steps, spherical)
        pairs = zip(paths, label, strict=True)
        return torch.stack([self.decode(path, y.expand(steps)) for path, y in pairs])

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """One step of the critic, of the classifier, and of encoder and generator."""
        image, label = batch["image"], self.labels(batch, self.num_classes, "CVAEGAN")
        noise = torch.randn(len(image), 2 * self.hparams["latent_dim"], device=self.device)
        judged = self.step(CRITIC, self.critic_loss, image, label, noise)["loss"]
        classified = self.step(CLASSIFIER, self.classifier_loss, image, label)["loss"]
        figures = self.step(CODER, self.coder_loss, image, label, noise)
        self.generator_ema.update(self.generator, self.global_step)
        for name in MEANS:
            getattr(self, name).update(figures.pop(name))
        return figures | {"loss_critic": judged, "loss_classifier": classified}

    def fakes(self, image: Tensor, label: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        """Reconstruction and sample in [-1, 1], and KL of the posterior (B,).

        The first half of ``noise`` (B, 2 D) draws from the posterior, the second from the prior.
        """
        mean, logvar = self.encode(image, label)  # 2 x (B, D)
        posterior, prior = noise.to(mean.dtype).chunk(2, dim=1)
        z = mean + (0.5 * logvar).exp() * posterior
        kl = losses.kl_standard_normal(mean, logvar).sum(1)
        return self.generator(z, label), self.generator(prior, label), kl

    def critic_loss(self, image: Tensor, label: Tensor, noise: Tensor) -> dict[str, Any]:
        """Loss of the critic: (B, C, H, W), (B,), (B, 2 D) -> scalar."""
        with torch.no_grad():
            likeness, sample, _ = self.fakes(image, label, noise)
        real = self.critic(2 * image - 1)  # (B,)
        fake = torch.cat([self.critic(likeness), self.critic(sample)])  # (2 B,)
        return {"loss": losses.critic_loss("non_saturating", real, fake)}

    def classifier_loss(self, image: Tensor, label: Tensor) -> dict[str, Any]:
        """Loss of the classifier, which sees no generated image: (B, C, H, W), (B,) -> scalar."""
        logits = self.classifier(2 * image - 1)  # (B, K)
        return {"loss": F.cross_entropy(precise(logits), label)}

    def coder_loss(self, image: Tensor, label: Tensor, noise: Tensor) -> dict[str, Any]:
        """Loss of encoder and generator, its terms, and sums for the moving averages.

        Critic and classifier only measure here: their batch norms keep their statistics.
        """
        real, given = 2 * image - 1, self.hparams
        likeness, sample, kl = self.fakes(image, label, noise)
        with statistics_kept(self.critic, self.classifier):
            with torch.no_grad():
                h_critic, h_class = self.critic.features(real), self.classifier.features(real)
            features = squared_error(self.critic.features(likeness), h_critic)
            features = features + squared_error(self.classifier.features(likeness), h_class)
            by_critic, by_class = self.critic.features(sample), self.classifier.features(sample)
        one = torch.zeros_like(label)
        means = mean_gap(self.critic_real, self.critic_fake, by_critic, one)
        class_means = mean_gap(self.class_real, self.class_fake, by_class, label)
        pixels = squared_error(likeness, real)
        loss = given["kl_weight"] * kl + given["reconstruction_weight"] * (pixels + features)
        loss = loss + given["critic_weight"] * means + given["class_weight"] * class_means
        sums = {
            "critic_real": class_sums(h_critic, one, 1),
            "critic_fake": class_sums(by_critic, one, 1),
            "class_real": class_sums(h_class, label, self.num_classes),
            "class_fake": class_sums(by_class, label, self.num_classes),
        }
        terms = {"kl": kl, "reconstruction": pixels, "features": features}
        terms |= {"means": means, "class_means": class_means}
        figures = {f"loss_{name}": term.mean() for name, term in terms.items()}
        return {"loss": loss.mean()} | figures | sums

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Error of reconstructions, KL, and samples that have their class."""
        image, label = batch["image"], self.labels(batch, self.num_classes, "CVAEGAN")
        mean, logvar = self.encode(image, label)
        draw = normal(self.hparams["latent_dim"])
        noise = for_images(draw, batch, training=False, stream=STREAM)["noise"]
        found = self.classify(self.decode(noise.to(mean.dtype), label))
        return {
            "mse": (self.decode(mean, label) - image).square().mean(),
            "kl": losses.kl_standard_normal(mean, logvar).sum(1).mean(),
            "sample_accuracy": (found == label).float().mean(),
        }

    test_step = validation_step

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Encoder's and generator's together, the critic's, the classifier's."""
        parts = ("encoder", "class_map", "generator"), "critic", "classifier"
        return [optim.build(self, self.hparams["optimizer"] or ADAM, part) for part in parts]

    def _check_arguments(self) -> None:
        given = self.hparams
        for name in ("num_classes", "latent_dim", "accumulate_grad_batches"):
            if given[name] < 1:
                raise ValueError(f"{name} must be at least 1, got {given[name]}")
        weights = ("kl_weight", "reconstruction_weight", "critic_weight", "class_weight")
        for name in weights:
            if given[name] < 0:
                raise ValueError(f"{name} must be 0 or more, got {given[name]}")


def squared_error(one: Tensor, other: Tensor) -> Tensor:
    """Half the squared distance of each pair, summed: 2 x (B, ...) -> (B,), float32 at least."""
    return (precise(one) - precise(other)).square().flatten(1).sum(1) / 2
