"""VQ-VAE: an autoencoder whose latent is a grid of discrete codes.

Van den Oord, Vinyals, Kavukcuoglu 2017, arXiv:1711.00937. Reference code: deepmind/sonnet's
``vqvae_example.ipynb``. Departures: the quantiser's (see `networks.quantizer`); the reconstruction
is a sum over pixels divided by ``pixel_variance``, with a commitment summed over the code grid
(sonnet: both averaged), so that beta means the same for every image size.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.contracts import Batch
from genlab.methods._code_autoencoder import CodeAutoencoder
from genlab.networks.autoencoders import quantizer_factory


class VQVAE(CodeAutoencoder):
    """Autoencoder whose latent is a grid of codes, from a codebook of K vectors or without one.

    ========= ==================================== ================================
    published codebook                             bits a place
    ========= ==================================== ================================
    VQ-VAE    ema, gradient                        log2 num_codes
    dVAE      gumbel                               log2 num_codes
    RQ-VAE    residual                             stages log2 num_codes
    SimVQ     sim                                  log2 num_codes
    FSQ       fsq                                  sum of log2 of the levels
    LFQ       lfq                                  log2 num_codes = numbers of a vector
    ========= ==================================== ================================

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        num_codes: K, size of the codebook, of each stage for ``residual``; a power of 2 for
            ``lfq``; for ``fsq`` the product of ``levels`` takes its place.
        code_dim: D, width of a code vector; ``fsq`` and ``lfq`` have one of their own.
        hidden: channels of the encoder's and decoder's smallest map.
        downsamplings: halvings of the side: 28 px and 2 give a 7 x 7 grid.
        residual_blocks: in encoder and decoder each.
        codebook: ``ema`` (exponential average), ``gradient`` (codebook loss), ``gumbel``,
            ``residual`` (averages in stages), ``sim``, ``fsq`` or ``lfq``.
        commitment_weight: beta of ||z - sg(e)||^2; unused by ``gumbel`` and ``fsq``.
        kl_weight: factor of KL(q || uniform), for ``gumbel``.
        ema_decay: gamma of the average, for ``ema`` and ``residual``.
        restart_below: codes used less often per step than this restart from the batch; 0: never;
            for ``ema``, ``gradient`` and ``residual``.
        init_from_data: take the first codebook of these from the first batch.
        likelihood: ``mse``, squared error / pixel_variance, or ``bernoulli``, cross entropy of
            logits.
        pixel_variance: variance of the data, for ``mse`` (sonnet divides by it too).
        gumbel: arguments of `GumbelQuantizer`; other codebooks refuse them.
        levels: levels of each number, for ``fsq`` alone; null for the paper's of 2^8, 2^10 ...
            2^16.
        lfq: arguments of `LookupFreeQuantizer`; other codebooks refuse them.
        stages: Q of ``residual``; other codebooks refuse another number than 2.
        optimizer: settings of the optimiser; see `optim.build`.

    Logs:
        train/loss, val/loss, test/loss (nats, lower): sum of the terms below.
        train/loss_reconstruction, val/reconstruction, test/reconstruction (nats, lower): -log p(x |
            codes) up to constants, summed over pixels: squared error / pixel_variance, or cross
            entropy.
        train/loss_commitment (nats, lower): commitment_weight ||z - sg(e)||^2, which draws the
            encoder to its codes.
        train/loss_codebook (nats, lower): ||sg(z) - e||^2, of a codebook that gradients move.
        train/loss_kl (nats, lower): kl_weight KL(q(k|x) || uniform), of the Gumbel quantiser.
        train/loss_entropy (nats): entropy_weight times the entropy of LFQ's places minus that of
            the batch, times places; evaluation leaves the batch's out.
        val/mse, test/mse (squared intensity, lower): squared error of a pixel in [0, 1], mean over
            pixels and images.
        train/perplexity (codes, higher): effective number of codes in a batch: exp of the entropy
            of their frequencies, of which stages are averaged.

    Attributes:
        num_codes: K.
        code_shape: (h, w) of the grid; (h, w Q) with ``residual``, a place's stages in a row.

    Raises:
        ValueError: an argument is out of its range, or another codebook's.
    """

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
        kl_weight: float = 1.0,
        ema_decay: float = 0.99,
        restart_below: float = 0.1,
        init_from_data: bool = True,
        likelihood: str = "mse",
        pixel_variance: float = 1.0,
        gumbel: dict[str, Any] | None = None,
        levels: list[int] | None = None,
        lfq: dict[str, Any] | None = None,
        stages: int = 2,
        optimizer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if likelihood not in ("mse", "bernoulli"):
            raise ValueError(f"unknown likelihood {likelihood!r}; choose from mse, bernoulli")
        if pixel_variance <= 0:
            raise ValueError(f"pixel_variance {pixel_variance} must be > 0")
        quantizer = quantizer_factory.quantizer(
            codebook, num_codes, code_dim, commitment_weight, ema_decay, restart_below,
            init_from_data, kl_weight, gumbel, levels, lfq, stages,
        )  # fmt: skip
        self.assemble(quantizer, channels, image_size, downsamplings, hidden, residual_blocks)
        self.likelihood, self.pixel_variance = likelihood, pixel_variance
        self.loss_of_batch = codebook == "lfq"  # accumulation does not enlarge what it compares

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Reconstruction and the quantiser's own losses, means over the batch."""
        image = batch["image"]
        _, codes, terms = self._terms(image)
        parts = {f"loss_{name}": value.mean() for name, value in terms.items()}
        return {
            "loss": torch.stack([*parts.values()]).sum(),
            **parts,
            "perplexity": self.perplexity(codes),
        }

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Loss and its terms per image; codebook use is logged at the end of the epoch."""
        image = batch["image"]  # (B, C, H, W)
        out, codes, terms = self._terms(image)
        self.usage.update(codes)
        return {
            "loss": torch.stack([*terms.values()]).sum(0).mean(),
            "reconstruction": terms["reconstruction"].mean(),
            "mse": F.mse_loss(self.pixels(out), image),
        }

    test_step = validation_step

    def _terms(self, image: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The decoder's output, the codes, and the terms of the loss, each (B,)."""
        z = self.encoder(image)  # (B, D, h, w)
        q = self.quantizer(z)  # the same shape, and codes (B, h, w Q)
        out = self.decoder(q.quantized)  # (B, C, H, W)
        terms = {"reconstruction": self._reconstruction(out, image)}
        terms |= self.quantizer.terms(z, q)
        return out, q.codes, terms

    def pixels(self, out: Tensor) -> Tensor:
        """The decoder's output as pixels."""
        return out.sigmoid() if self.likelihood == "bernoulli" else out.clamp(0, 1)

    def _reconstruction(self, out: Tensor, image: Tensor) -> Tensor:
        """Negative log-likelihood up to constants, summed over pixels: (B,)."""
        out = out.float()
        if self.likelihood == "bernoulli":
            per_pixel = F.binary_cross_entropy_with_logits(out, image, reduction="none")
        else:
            per_pixel = (out - image).square() / self.pixel_variance
        return per_pixel.flatten(1).sum(1)
