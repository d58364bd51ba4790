"""A prior over a VQ-VAE's codes: draw codes in raster order, and the VQ-VAE decodes them.

Van den Oord, Vinyals, Kavukcuoglu 2017, arXiv:1711.00937, section 3.3: the autoencoder is trained
first under a uniform prior; an autoregressive model is then fitted to the codes of the training
images. Networks: gated PixelCNN (arXiv:1606.05328) or a causal transformer.
Departures: a fraction of the labels may be hidden in training, so that one conditional model also
draws without a class. The several codes of a place, as of a residual quantiser, follow each other
before the next place.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from genlab.contracts import Batch
from genlab.losses import vq
from genlab.methods._code_prior import CodePrior, conditional_classes
from genlab.networks.autoencoders.pixelcnn import PixelCNN
from genlab.networks.autoencoders.transformer import CausalTransformer


class VQPrior(CodePrior):
    """Autoregressive model of the codes of a trained, frozen VQ-VAE.

    The tokenizer's weights and its description travel in the prior's own checkpoint: loading that
    needs no other file.

    Args:
        tokenizer: checkpoint or run of a VQ-VAE or VQGAN; read once, when a new prior is made.
        tokenizer_spec: instead, its description (class and arguments); its weights then come with
            the prior's checkpoint. Filled in when the hyper-parameters are saved.
        network: ``pixelcnn`` or ``transformer``.
        width: channels of the network.
        depth: its layers.
        heads: attention heads, for ``transformer``.
        kernel_size: side of the kernels, for ``pixelcnn``.
        dropout: rate in the network.
        class_conditional: model p(codes | label) instead of p(codes).
        num_classes: number of labels.
        label_dropout: fraction of labels hidden in training, when class-conditional.
        cache_codes: True to keep each training image's codes, so that it is encoded once.
        optimizer: settings of the optimiser; see `optim.build`.

    Logs:
        train/loss, val/loss, test/loss (nats, lower): -log p(codes | label) of an image, summed
            over its codes, mean over images.
        val/bits_per_code, test/bits_per_code (bits, lower): loss / (log 2 times the codes of an
            image); log2 of the number of codes for a uniform prior.

    Raises:
        ValueError: no tokenizer, or something else than a VQ-VAE; an argument out of its range.
    """

    def __init__(
        self,
        tokenizer: str | None = None,
        tokenizer_spec: dict[str, Any] | None = None,
        network: str = "transformer",
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        kernel_size: int = 5,
        dropout: float = 0.0,
        class_conditional: bool = False,
        num_classes: int = 10,
        label_dropout: float = 0.1,
        cache_codes: bool = True,
        optimizer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        classes = conditional_classes(class_conditional, num_classes)
        self.take(tokenizer, tokenizer_spec, classes, label_dropout, cache_codes)
        grid = (self.tokenizer.num_codes, self.tokenizer.code_shape)
        sizes = (width, depth, self.num_classes)
        self.prior: PixelCNN | CausalTransformer
        if network == "pixelcnn":
            self.prior = PixelCNN(*grid, *sizes, kernel_size, dropout)
        elif network == "transformer":
            self.prior = CausalTransformer(*grid, *sizes, heads, dropout)
        else:
            raise ValueError(f"unknown network {network!r}; choose from pixelcnn, transformer")

    def log_prob(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        """Log p(codes | label) in nats: (B, h, w), (B,) -> (B,)."""
        return -vq.code_nll(self.prior(codes, self.condition(label)), codes)

    def draw(self, n: int, condition: Tensor | None, temperature: float) -> Tensor:
        """Grids of codes in raster order: labels (n,) or None -> (n, h, w)."""
        return self.prior.sample(n, condition, temperature)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Nats per image, mean over the batch."""
        codes, label = self.codes(batch), self.partly_hidden(batch["label"])  # (B, h, w), (B,)
        return {"loss": -self.log_prob(codes, label).mean()}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Nats per image, and bits per code."""
        codes = self.tokenizer.encode(batch["image"])  # (B, h, w)
        nats = -self.log_prob(codes, batch["label"]).mean()
        return {"loss": nats, "bits_per_code": nats / (math.log(2) * codes[0].numel())}

    test_step = validation_step
