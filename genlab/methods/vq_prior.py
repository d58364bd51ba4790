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

import lightning as L
import torch
from torch import Tensor

from genlab import checkpoints, optim
from genlab.contracts import Batch
from genlab.losses import vq
from genlab.metrics import log_steps
from genlab.networks.autoencoders.pixelcnn import PixelCNN
from genlab.networks.autoencoders.tokenizers import CodeCache, frozen_tokenizer
from genlab.networks.autoencoders.transformer import CausalTransformer


class VQPrior(L.LightningModule):
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

    tokenizer: Any  # the frozen VQ-VAE, see `tokenizers.Tokenizer`

    configure_callbacks = log_steps
    reads_views = False

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
        if not 0 <= label_dropout < 1:
            raise ValueError(f"label_dropout {label_dropout} must lie in [0, 1)")
        self.tokenizer = frozen_tokenizer(tokenizer, tokenizer_spec)
        self.hparams.update(tokenizer=None, tokenizer_spec=checkpoints.spec(self.tokenizer))
        if class_conditional and num_classes < 1:
            raise ValueError(f"class_conditional requires classes, the data have {num_classes}")
        self.num_classes = num_classes if class_conditional else 0
        grid = (self.tokenizer.num_codes, self.tokenizer.code_shape)
        sizes = (width, depth, self.num_classes)
        self.prior: PixelCNN | CausalTransformer
        if network == "pixelcnn":
            self.prior = PixelCNN(*grid, *sizes, kernel_size, dropout)
        elif network == "transformer":
            self.prior = CausalTransformer(*grid, *sizes, heads, dropout)
        else:
            raise ValueError(f"unknown network {network!r}; choose from pixelcnn, transformer")
        self.label_dropout, self.cache_codes = label_dropout, cache_codes
        self._cache: CodeCache | None = None

    def train(self, mode: bool = True) -> VQPrior:
        """The tokenizer stays in eval mode."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: the tokenizer's, (B, D)."""
        return self.tokenizer(image)

    def log_prob(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        """Log p(codes | label) in nats: (B, h, w), (B,) -> (B,)."""
        return -vq.code_nll(self.prior(codes, self._condition(label)), codes)

    @torch.no_grad()
    def sample_codes(self, n: int, label: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draw n grids of codes: (n, h, w).

        Args:
            n: number of grids.
            label: classes (n,), -1 for none. By default uniformly drawn ones when conditional.
            temperature: divides the logits; below 1 for likelier codes.
        """
        if temperature <= 0:
            raise ValueError(f"temperature {temperature} must be > 0")
        if label is None and self.num_classes:
            label = torch.randint(self.num_classes, (n,), device=self.device)
        elif label is not None and self.num_classes and int(label.max()) >= self.num_classes:
            raise ValueError(f"label {int(label.max())} is not one of {self.num_classes} classes")
        condition = self._condition(None if label is None else label.to(self.device))
        return self.prior.sample(n, condition, temperature)

    @torch.no_grad()
    def sample(self, n: int, label: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draw n images: (n, C, H, W) in [0, 1]; arguments as `sample_codes`."""
        codes = self.sample_codes(n, label, temperature)
        return torch.cat([self.decode(part) for part in codes.split(256)])

    def decode(self, codes: Tensor) -> Tensor:
        """The images of codes: (n, h, w) -> (n, C, H, W) in [0, 1]."""
        return self.tokenizer.decode(codes)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Nats per image, mean over the batch."""
        codes, label = self._codes(batch), batch["label"]  # (B, h, w), (B,)
        if self.num_classes and self.label_dropout:
            hidden = torch.rand(len(label), device=label.device) < self.label_dropout
            label = label.masked_fill(hidden, -1)
        return {"loss": -self.log_prob(codes, label).mean()}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Nats per image, and bits per code."""
        codes = self.tokenizer.encode(batch["image"])  # (B, h, w)
        nats = -self.log_prob(codes, batch["label"]).mean()
        return {"loss": nats, "bits_per_code": nats / (math.log(2) * codes[0].numel())}

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`; the frozen tokenizer is not in it."""
        return optim.build(self, self.hparams["optimizer"])

    def _condition(self, label: Tensor | None) -> Tensor | None:
        """Labels for the network; None for a model without classes."""
        if label is None or not self.num_classes:
            return None
        return label.where(label < self.num_classes, -1)

    def _codes(self, batch: Batch) -> Tensor:
        """The codes of a training batch, (B, h, w)."""
        if not self.cache_codes:
            return self.tokenizer.encode(batch["image"])
        if self._cache is None:
            self._cache = CodeCache()
        return self._cache(batch["image"], batch["index"], self.tokenizer.encode)
