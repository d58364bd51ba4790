"""VQGAN: a VQ-VAE whose decoder is also judged by a critic of patches and by a network's features.

Esser, Rombach, Ommer 2021, arXiv:2012.09841. Reference code: CompVis/taming-transformers.
Departures: the perceptual distance is that of any network of genlab or of timm, without LPIPS's
learned weights, and is named after it; the critic has no batch norm (`networks.gan.patch_critics`),
and its term opens by a ramp; autoencoder and critic step together, by one optimiser, whose steps
are batches: the critic of a step has not seen that step's autoencoder, and ``optimizer.lr_scale``
gives it its own rate; the adaptive weight is that of all processes
(`losses.perceptual.adaptive_weight`); the networks are `VQVAE`'s, small and without attention; the
reconstruction is a sum over pixels, the commitment over the code grid, as in `VQVAE`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from genlab import losses, networks
from genlab.contracts import Batch
from genlab.losses.perceptual import adaptive_weight, feature_distance
from genlab.methods._code_autoencoder import CodeAutoencoder
from genlab.networks.arguments import check_not_negative
from genlab.networks.autoencoders import quantizer_factory
from genlab.networks.encoders.stages import stage_maps
from genlab.networks.gan.patch_critics import patch_critic


class VQGAN(CodeAutoencoder):
    """Autoencoder of codes with an absolute error, a perceptual distance and a critic of patches.

    In evaluation there is no gradient, so no adaptive weight: ``val/loss`` is the loss without the
    critic, and ``val/reconstruction`` selects.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        num_codes, code_dim, codebook, levels, lfq, stages: codes, see `VQVAE`; codebook ``gumbel``
            is refused.
        hidden: channels of the encoder's and decoder's smallest map.
        downsamplings: halvings of the side: 28 px and 2 give a 7 x 7 grid.
        residual_blocks: in encoder and decoder each.
        commitment_weight: beta of ||z - sg(e)||^2.
        ema_decay, restart_below, init_from_data: averages of the codes, see `VQVAE`.
        adversarial_weight: factor of the adaptive weight of the critic's term.
        adversarial_start: optimiser steps before that term opens; the critic learns from the first.
        adversarial_ramp: steps in which it opens, linearly.
        critic_kwargs: ``width``, ``layers`` and ``norm`` of `networks.gan.patch_critics`.
        perceptual: name of the encoder whose features are compared; null for none.
        perceptual_weight: factor of their distance, times the numbers of an image.
        perceptual_size: side in pixels to which images are enlarged for it; null: as they are.
        perceptual_kwargs: arguments of that encoder.
        pretrained: weights of that encoder; see `checkpoints.load_backbone`. Without them its
            features are random ones.
        pretrained_options: options for loading them.
        optimizer: settings of the optimiser; see `optim.build`.

    Logs:
        train/loss, val/loss, test/loss (intensity, lower): sum of the terms; in evaluation without
            the critic's.
        train/loss_reconstruction, val/reconstruction, test/reconstruction (intensity, lower):
            absolute error, summed over pixels, plus the perceptual term.
        train/loss_commitment, train/loss_codebook, train/loss_entropy (squared distance, lower): of
            the quantiser, see `VQVAE`.
        train/loss_generator (score, lower): minus the critic's mean score of reconstructions.
        train/loss_critic (score, lower): half the hinge loss of images and reconstructions.
        train/critic_weight (1): adversarial_weight times the adaptive weight times the ramp; 1,000
            and more means a critic without a gradient.
        val/l1, test/l1 (intensity, lower): absolute error of a pixel in [0, 1].
        val/mse, test/mse (squared intensity, lower): squared error of a pixel in [0, 1].
        val/perceptual_<network>, test/perceptual_<network> (1, lower): distance of features, 0 to
            4; of another network it is another metric.
        train/perplexity (codes, higher): effective number of codes in a batch.

    Attributes:
        num_codes: K.
        code_shape: (h, w) of the grid; (h, w Q) with ``residual``.

    Raises:
        ValueError: an argument is out of its range, or another codebook's.
    """

    law_exceptions: ClassVar = {
        "order": "codes start, and start again, from vectors at places in the batch",
        "repeat": "codes start, and start again, from vectors at places in the batch",
    }

    def __init__(
        self,
        channels: int,
        image_size: int,
        num_codes: int = 512,
        code_dim: int = 64,
        hidden: int = 128,
        downsamplings: int = 2,
        residual_blocks: int = 2,
        codebook: str = "ema",
        commitment_weight: float = 0.25,
        ema_decay: float = 0.99,
        restart_below: float = 0.1,
        init_from_data: bool = True,
        levels: list[int] | None = None,
        lfq: dict[str, Any] | None = None,
        stages: int = 2,
        adversarial_weight: float = 0.8,
        adversarial_start: int = 0,
        adversarial_ramp: int = 0,
        critic_kwargs: dict[str, Any] | None = None,
        perceptual: str | None = None,
        perceptual_weight: float = 1.0,
        perceptual_size: int | None = None,
        perceptual_kwargs: dict[str, Any] | None = None,
        pretrained: str | bool = False,
        pretrained_options: dict[str, Any] | None = None,
        optimizer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_not_negative(
            adversarial_weight=adversarial_weight, adversarial_start=adversarial_start,
            adversarial_ramp=adversarial_ramp, perceptual_weight=perceptual_weight,
        )  # fmt: skip
        if codebook == "gumbel":
            raise ValueError("codebook 'gumbel' requires VQVAE: VQGAN has no weight of its KL term")
        quantizer = quantizer_factory.quantizer(
            codebook, num_codes, code_dim, commitment_weight, ema_decay, restart_below,
            init_from_data, levels=levels, lfq=lfq, stages=stages,
        )  # fmt: skip
        self.assemble(quantizer, channels, image_size, downsamplings, hidden, residual_blocks)
        self.critic = patch_critic(channels, image_size, **(critic_kwargs or {}))
        self.perceptual: nn.Module | None = None
        if perceptual is not None:
            self.perceptual = networks.encoder(
                perceptual, channels, perceptual_size or image_size, pretrained=pretrained,
                pretrained_options=pretrained_options, **(perceptual_kwargs or {}),
            ).requires_grad_(False).eval()  # fmt: skip
        self.loss_of_batch = True  # the adaptive weight is a ratio of norms

    def train(self, mode: bool = True) -> VQGAN:
        """The perceptual network stays in eval mode."""
        super().train(mode)
        if self.perceptual is not None:
            self.perceptual.eval()
        return self

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Reconstruction, the quantiser's losses, the critic's opinion, and its own loss."""
        image = batch["image"]
        shown, codes, terms, _ = self._terms(image)
        parts = {f"loss_{name}": value.mean() for name, value in terms.items()}
        frozen = {name: value.detach() for name, value in self.critic.named_parameters()}
        scores = functional_call(self.critic, frozen, (2 * shown - 1,))  # (B, 1, h, w)
        generator = losses.generator_loss("hinge", scores)
        weight = torch.zeros_like(generator)
        if (opening := self.opening()) > 0:
            last: Any = self.decoder.layers[-1].weight
            weight = adaptive_weight(parts["loss_reconstruction"], generator, last)
            weight = self.hparams["adversarial_weight"] * opening * weight
        known, made = self.critic(2 * image - 1), self.critic(2 * shown.detach() - 1)
        critic = losses.critic_loss("hinge", known, made) / 2
        return {
            "loss": torch.stack([*parts.values()]).sum() + weight * generator + critic,
            **parts,
            "loss_generator": generator,
            "loss_critic": critic,
            "critic_weight": weight,
            "perplexity": self.perplexity(codes),
        }

    def opening(self) -> float:
        """Share of the critic's term at this optimiser step, from 0 to 1."""
        since = self.global_step - self.hparams["adversarial_start"]
        return float(min(1.0, max(0.0, (since + 1) / (self.hparams["adversarial_ramp"] + 1))))

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Loss without the critic, and errors; codebook use is logged at the end of the epoch."""
        image = batch["image"]  # (B, C, H, W)
        shown, codes, terms, distance = self._terms(image)
        self.usage.update(codes)
        figures = {
            "loss": torch.stack([*terms.values()]).sum(0).mean(),
            "reconstruction": terms["reconstruction"].mean(),
            "l1": F.l1_loss(shown.clamp(0, 1), image),
            "mse": F.mse_loss(shown.clamp(0, 1), image),
        }
        if distance is not None:
            figures[f"perceptual_{self.hparams['perceptual']}"] = distance.mean()
        return figures

    test_step = validation_step

    def _terms(self, image: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor], Tensor | None]:
        """Images through their codes, the codes, terms of the loss (B,), and feature distances."""
        z = self.encoder(image)  # (B, D, h, w)
        q = self.quantizer(z)  # the same shape, and codes (B, h, w Q)
        shown = self.decoder(q.quantized)  # (B, C, H, W)
        error = (shown.float() - image).abs().flatten(1).sum(1)  # (B,)
        distance = None
        if self.perceptual is not None:
            distance = feature_distance(self._maps(shown), self._maps(image))  # (B,)
            error = error + self.hparams["perceptual_weight"] * image[0].numel() * distance
        return shown, q.codes, {"reconstruction": error} | self.quantizer.terms(z, q), distance

    def _maps(self, image: Tensor) -> list[Tensor]:
        """Feature maps of images by the perceptual network."""
        if (side := self.hparams["perceptual_size"]) is not None:
            image = F.interpolate(image, size=(side, side), mode="bilinear")
        return stage_maps(self.perceptual, self.perceptual, image)  # type: ignore[arg-type]
