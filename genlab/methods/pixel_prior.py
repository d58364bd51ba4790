"""A prior over pixels, or over the numbers of a vector, drawn in raster order.

Networks: gated PixelCNN (van den Oord et al. 2016, arXiv:1606.05328) or a causal transformer (image
GPT: Chen et al. 2020, without its palette). Departures: those of the networks, see
`networks.autoencoders`; a pixel's channels follow each other in the sequence of the transformer,
and are refused by PixelCNN.
"""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import losses, optim
from genlab.contracts import Batch
from genlab.metrics import log_steps
from genlab.networks.autoencoders.pixelcnn import PixelCNN
from genlab.networks.autoencoders.transformer import CausalTransformer


class PixelPrior(L.LightningModule):
    """Autoregressive distribution of quantised images, or of vectors, in their own order.

    Args:
        channels: C of the images; D of vectors.
        image_size: H = W in pixels; 1 for vectors.
        levels: values of a number, 2 for binary data; `genlab fit` refuses images of others.
        network: ``transformer``, or ``pixelcnn`` for images of one channel.
        width: channels of the network.
        depth: its layers.
        heads: attention heads, for ``transformer``.
        kernel_size: side of the kernels, for ``pixelcnn``.
        dropout: rate in the network.
        optimizer: settings of the optimiser; see `optim.build`.

    Logs:
        train/loss, val/loss, test/loss (nats, lower): -log p(x), summed over numbers.
        val/bits_per_dim, test/bits_per_dim (bits, lower): loss / (C H W log 2).

    Raises:
        ValueError: an argument is unknown or out of its range.
    """

    configure_callbacks = log_steps
    reads_views = False

    def __init__(
        self,
        channels: int = 1,
        image_size: int = 8,
        levels: int = 2,
        network: str = "transformer",
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        kernel_size: int = 5,
        dropout: float = 0.0,
        optimizer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if levels < 2:
            raise ValueError(f"levels must be at least 2, got {levels}")
        self.levels, self.channels = levels, channels
        self.image_levels = levels
        grid = (levels, (image_size, image_size * channels))
        self.prior: PixelCNN | CausalTransformer
        if network == "transformer":
            self.prior = CausalTransformer(*grid, width, depth, 0, heads, dropout)
        elif network != "pixelcnn":
            raise ValueError(f"unknown network {network!r}; choose from transformer, pixelcnn")
        elif channels > 1:
            raise ValueError(f"network pixelcnn requires one channel, the data have {channels}")
        else:
            self.prior = PixelCNN(*grid, width, depth, 0, kernel_size, dropout)

    def forward(self, image: Tensor) -> Tensor:
        """Features, the log-probability of each number given those before: -> (B, C H W)."""
        level = self._level(image)
        log_p: Tensor = self.prior(level).float().log_softmax(1)
        return log_p.gather(1, level[:, None]).flatten(1)

    def log_prob(self, image: Tensor) -> Tensor:
        """Log-probability in nats: (B, C, H, W) -> (B,)."""
        level = self._level(image)
        return -losses.code_nll(self.prior(level), level)

    @torch.no_grad()
    def sample(self, n: int, temperature: float = 1.0) -> Tensor:
        """Draw n images in raster order: (n, C, H, W) in [0, 1]; ``temperature`` divides logits."""
        level = self.prior.sample(n, None, temperature)  # (n, H, W C)
        image = level.unflatten(2, (-1, self.channels)).movedim(3, 1)
        return image / (self.levels - 1)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Nats per image, mean over the batch."""
        return {"loss": -self.log_prob(batch["image"]).mean()}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Nats per image, and bits per number."""
        image = batch["image"]
        nats = -self.log_prob(image).mean()
        return {"loss": nats, "bits_per_dim": nats / (image[0].numel() * math.log(2))}

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _level(self, image: Tensor) -> Tensor:
        """Values 0 ... levels - 1, channels next to each other: (B, C, H, W) -> (B, H, W C)."""
        level = (image * (self.levels - 1)).round().clamp(0, self.levels - 1).long()
        return level.movedim(1, 3).flatten(2)
