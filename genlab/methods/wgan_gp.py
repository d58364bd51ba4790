"""WGAN-GP: a generator minimises the distance to real images that a critic estimates.

Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville 2017, arXiv:1704.00028. The same file holds its
family: WGAN, clipped weights (Arjovsky, Chintala, Bottou 2017, arXiv:1701.07875); WGAN-LP, the
one-sided penalty (Petzka, Fischer, Lukovnikov 2018, arXiv:1709.08894); SNGAN, hinge and spectral
norm (Miyato, Kataoka, Koyama, Yoshida 2018, arXiv:1802.05957); the non-saturating GAN (Goodfellow
et al. 2014, arXiv:1406.2661); R3GAN, each real image against a fake one (Huang, Gokaslan,
Kuleshov, Tompkin 2025, arXiv:2501.05441), whose rates, decays and gamma change over training, but
for the schedules of `optim.build` not here. Departures: an average of the generator's weights is
what samples; the class is appended to the noise, unless ``generator_kwargs.norm`` is
``conditional``, as in Miyato and Koyama 2018, arXiv:1802.05637.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from genlab import losses, networks, optim
from genlab.augment.differentiable import OPERATIONS, differentiable, unit_draw
from genlab.augment.draws import for_images
from genlab.contracts import Batch
from genlab.errors import nearest
from genlab.methods._alternation import Alternation

CONSTRAINTS = ("penalty", "one_sided_penalty", "r1_r2", "clip", "spectral_norm", "none")
OUTPUTS = ("tanh", "linear")
REAL, FAKE = 0, 1  # places of an image's draws
STREAM = 118  # of the batch's seed: critic's step; the next is the generator's
PAPER = {"name": "adam", "lr": 1e-4, "betas": [0.0, 0.9]}


class WGANGP(Alternation):
    """A generator and a critic with an optimiser each.

    Every batch is a step of the critic; every ``n_critic``-th is one of the generator as well. Only
    the generator advances ``global_step``, see `Alternation`.

    ========= ============== =================== ==========================================
    published objective      constraint          with
    ========= ============== =================== ==========================================
    WGAN-GP   wasserstein    penalty             n_critic 5, Adam 1e-4, betas 0, 0.9
    WGAN-LP   wasserstein    one_sided_penalty   the same
    WGAN      wasserstein    clip                n_critic 5, clip_value 0.01, RMSprop 5e-5
    SNGAN     hinge          spectral_norm       n_critic 1 or 5, Adam 2e-4
    NSGAN     non_saturating none                n_critic 1, Adam 2e-4, betas 0.5, 0.999
    R3GAN     relativistic   r1_r2               n_critic 1, Adam 2e-4, betas 0, 0.9
    ========= ============== =================== ==========================================

    Args:
        channels, image_size: C of the images; H = W in pixels.
        num_classes, latent_dim: K of the data; D of z.
        generator: ``mlp``, ``dcgan`` or ``resnet``; see `networks.generator`.
        critic: ``mlp``, ``dcgan`` or ``resnet``; see `networks.critic`.
        output: ``tanh`` for images in [0, 1], ``linear`` for numbers without bounds.
        condition: null, or the form of the critic's class input: ``projection``, ``concat``.
        objective: ``wasserstein``, ``hinge``, ``non_saturating`` or ``relativistic``, which pairs
            real and fake images by their place in the batch; see `losses.critic_loss`.
        constraint: constraint of the critic's slope: ``penalty`` (gradient norm 1 between real and
            fake), ``one_sided_penalty`` (at most 1), ``r1_r2`` (norm 0 at real and at fake images),
            ``clip`` (of weights), ``spectral_norm``, ``none``.
        penalty_weight: lambda of the penalties; gamma of ``r1_r2``, half of which counts.
        clip_value: largest weight under ``clip``.
        augment: augmentation of real and fake images in both steps, any of ``color``,
            ``translation`` and ``cutout``; see `augment.differentiable`. Slopes are taken by the
            image before it.
        n_critic: critic steps for each generator step.
        ema_decay: decay of the average of the generator's weights; 0 keeps the last ones.
        accumulate_grad_batches: parts of a batch in turn: same gradient (but for batch norm).
        gradient_clip_val: largest norm of each network's gradient; null does not clip.
        optimizer: settings of both optimisers; see `optim.build`. ``lr_scale: {critic: 4}`` gives
            the critic a rate of its own. By default the paper's Adam.
        generator_kwargs: arguments of the generator, see `networks.generator`: ``width`` ...;
            ``norm: conditional`` or ``self_modulated`` is batch norm by the class or the noise.
        critic_kwargs: arguments of the critic, see `networks.critic`; ``pool: sum`` of ``resnet``
            is projection's in the paper.

    Logs:
        train/loss (score, lower): `losses.critic_loss` plus penalty_weight times the penalty.
        train/loss_generator (score, lower): `losses.generator_loss` of the fake scores.
        train/wasserstein, val/wasserstein, test/wasserstein (score): mean score of real minus fake.
        train/penalty (1, lower): mean (norm - 1)^2 of the gradient; one-sided above 1 alone.
        train/gradient_norm, val/gradient_norm, test/gradient_norm (1): its mean norm; near 1.
        train/gradient_norm_sd (1, lower): standard deviation of the norm in a batch.
        train/r1, train/r2 (1, lower): mean squared norm of the gradient at real and fake images.

    Raises:
        ValueError: a value out of range; a penalty on a critic with batch norm; later, no label.
    """

    def __init__(
        self,
        channels: int = 1,
        image_size: int = 28,
        num_classes: int = 10,
        latent_dim: int = 64,
        generator: str = "dcgan",
        critic: str = "dcgan",
        output: str = "tanh",
        condition: str | None = None,
        objective: str = "wasserstein",
        constraint: str = "penalty",
        penalty_weight: float = 10.0,
        clip_value: float = 0.01,
        augment: Sequence[str] = (),
        n_critic: int = 5,
        ema_decay: float = 0.999,
        accumulate_grad_batches: int = 1,
        gradient_clip_val: float | None = None,
        optimizer: dict[str, Any] | None = None,
        generator_kwargs: dict[str, Any] | None = None,
        critic_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self._check_arguments()
        self.num_classes = num_classes if condition is not None else 0
        shape = (channels, image_size, self.num_classes)
        self.generator = networks.generator(
            generator, latent_dim, *shape, bounded=output == "tanh", **(generator_kwargs or {})
        )
        self.critic = networks.critic(
            critic, *shape, condition=condition or "projection", **(critic_kwargs or {})
        )
        networks.constrain(self.critic, constraint)
        self.generator_ema = networks.EMA(self.generator, ema_decay)
        self.augment = tuple(augment)
        self.batches_per_step = n_critic  # see `optim.total_steps`
        self.critic_steps = 0

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, the critic's, as if of class 0: (B, C, H, W) -> (B, F)."""
        return self.critic.features(self.to_critic(image), image.new_zeros(len(image)).long())

    def to_critic(self, image: Tensor) -> Tensor:
        """Data to the generator's range: [0, 1] -> [-1, 1]; unbounded data as they are."""
        return 2 * image - 1 if self.hparams["output"] == "tanh" else image

    @torch.no_grad()
    def decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Noise to images by the average of the generators: (B, D), (B,) -> (B, C, H, W)."""
        image = self.generator_ema.average(z, label)
        return (image + 1) / 2 if self.hparams["output"] == "tanh" else image

    @torch.no_grad()
    def sample(self, n: int, label: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draw z of standard deviation ``temperature`` and decode: (n, C, H, W).

        The classes are ``label`` (n,), by default all in turn; without ``condition`` none.
        """
        if label is None and self.num_classes:
            label = torch.arange(n) % self.num_classes
        label = label.to(self.device) if label is not None else None
        return self.decode(temperature * self.noise(n), label)

    def noise(self, n: int) -> Tensor:
        """Standard normal z: (n, D)."""
        return torch.randn(n, self.hparams["latent_dim"], device=self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """One step of the critic; after every ``n_critic`` of them one of the generator."""
        real = self.to_critic(batch["image"])
        label = self.labels(batch, self.num_classes, "condition")
        drawn = self.noise(len(real)), torch.rand(len(real), device=self.device)
        given = real, label, *drawn, *self._views(batch, STREAM)
        figures = self.step(1, self.critic_loss, *given)
        if self.hparams["constraint"] == "clip":
            networks.clip_weights(self.critic, self.hparams["clip_value"])
        if (self.critic_steps + 1) % self.hparams["n_critic"] == 0:
            given = real, label, self.noise(len(real)), *self._views(batch, STREAM + 1)
            self.step(0, self.generator_loss, *given)
            self.generator_ema.update(self.generator, self.global_step)
        self.critic_steps += 1  # last: either step may be given up
        return figures

    def critic_loss(
        self, real: Tensor, label: Tensor, z: Tensor, share: Tensor, view: Tensor | None = None
    ) -> dict[str, Any]:
        """Loss and metrics; the penalty is taken at ``share`` of the way from fake to real.

        (B, C, H, W), (B,), (B, D), (B,), draws of the augmentation (B, 2, 7) -> scalars.
        """
        with torch.no_grad():
            fake = self.generator(z, label).to(real.dtype)  # (B, C, H, W)
        objective, constraint = self.hparams["objective"], self.hparams["constraint"]
        scorers = self.scorer(label, view, REAL), self.scorer(label, view, FAKE)
        scores, penalty, slopes = losses.judged(constraint, scorers, real, fake, share)
        on_real, on_fake = scores  # 2 x (B,)
        loss = losses.critic_loss(objective, on_real, on_fake)
        figures = {"loss": loss + self.hparams["penalty_weight"] * penalty}
        figures["wasserstein"] = -losses.critic_loss("wasserstein", on_real, on_fake)
        figures["loss_generator"] = losses.generator_loss(objective, on_fake, on_real)
        return figures | slopes

    def generator_loss(
        self, real: Tensor, label: Tensor, z: Tensor, view: Tensor | None = None
    ) -> dict[str, Any]:
        """Loss of the generator under the current critic: as `critic_loss` -> scalar."""
        objective, against = self.hparams["objective"], None
        scores = self.scorer(label, view, FAKE)(self.generator(z, label))  # (B,)
        if objective == "relativistic":
            with torch.no_grad():
                against = self.scorer(label, view, REAL)(real)
        return {"loss": losses.generator_loss(objective, scores, against)}

    def scorer(self, label: Tensor, view: Tensor | None, place: int) -> Callable[[Tensor], Tensor]:
        """The critic of images of these classes, seen by the draws of this place: -> (B,)."""

        def score(image: Tensor) -> Tensor:
            seen = image if view is None else differentiable(image, view[:, place], self.augment)
            return self.critic(seen, label)

        return score

    def _views(self, batch: Batch, stream: int) -> list[Tensor]:
        """Draws of a step's augmentation, (B, 2, 7) for real and fake images, if there is one."""
        return list(for_images(unit_draw(2), batch, True, stream).values()) if self.augment else []

    def gradient_norm(self, image: Tensor, label: Tensor) -> Tensor:
        """Norm of the gradient of the score by the image: (B, C, H, W), (B,) -> (B,)."""
        return losses.gradient_norm(lambda x: self.critic(x, label), image)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Critic's estimate and mean steepness on held-out images; all norms go to callbacks."""
        with torch.inference_mode(False):  # the norm is a derivative
            label = self.labels(batch, self.num_classes, "condition").clone()
            real = self.to_critic(batch["image"].clone())
            fake = self.generator_ema.average(self.noise(len(real)), label).to(real.dtype)
            share = torch.rand(len(real), device=real.device)
            norm = self.gradient_norm(losses.between(real, fake, share), label).detach()  # (B,)
        scores = self.critic(real, label), self.critic(fake, label)  # 2 x (B,)
        gap = -losses.critic_loss("wasserstein", *scores)
        return {"wasserstein": gap, "gradient_norm": norm.mean(), "gradient_norms": norm}

    test_step = validation_step

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """The generator's and the critic's; see `optim.build`."""
        settings = self.hparams["optimizer"] or PAPER
        return [
            optim.build(self, settings, "generator"),
            optim.build(self, settings, "critic", repeats=self.hparams["n_critic"]),
        ]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Position in the round of critic steps."""
        checkpoint["critic_steps"] = self.critic_steps

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.critic_steps = checkpoint["critic_steps"]

    def _check_arguments(self) -> None:
        given = self.hparams
        known = {"constraint": CONSTRAINTS, "output": OUTPUTS, "objective": losses.OBJECTIVES}
        for name, values in known.items():
            if given[name] not in values:
                raise ValueError(f"no {name} {given[name]!r}; {nearest(given[name], values)}")
        for operation in given["augment"]:
            if operation not in OPERATIONS:
                raise ValueError(f"unknown augment {operation!r}; {nearest(operation, OPERATIONS)}")
        if given["augment"] and (given["output"] != "tanh" or given["image_size"] < 8):
            raise ValueError("augment requires output: tanh and images of at least 8 px")
        for name in ("n_critic", "accumulate_grad_batches"):
            if given[name] < 1:
                raise ValueError(f"{name} must be at least 1, got {given[name]}")
        for name in ("penalty_weight", "clip_value", "gradient_clip_val"):
            if given[name] is not None and given[name] <= 0:
                raise ValueError(f"{name} must be above 0, got {given[name]}")
