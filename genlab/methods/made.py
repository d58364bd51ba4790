"""MADE: probabilities of binary vectors, or of quantised images, one variable after the other.

Germain, Gregor, Murray, Larochelle 2015, arXiv:1502.03509; reference code mgermain/MADE.
Departures: those of `networks.autoencoders.made`; several orders are averaged as probabilities in
validation too; the last layer's biases start at the training set's frequencies; dropout as an
option; variables of more than two values by a softmax.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import losses, optim
from genlab.contracts import Batch, DataModule, data_of
from genlab.metrics import log_steps
from genlab.networks.autoencoders.made import MaskedAutoencoder


class MADE(L.LightningModule):
    """Masked autoencoder that is a distribution, of binary vectors or of flattened images.

    Args:
        channels: C of the images; D of vectors.
        image_size: H = W in pixels; 1 for vectors.
        levels: values of a variable, 2 for binary ones; `genlab fit` refuses images of others.
        hidden_dims: widths of the hidden layers.
        activation: activation after each of them, by name.
        orders: number of orders of the variables; they take turns, one an optimiser step, and
            their probabilities are averaged in evaluation.
        dropout: rate after each hidden layer.
        optimizer: settings of the optimiser; see `optim.build`.

    Logs:
        train/loss (nats, lower): -log p(x) in this step's order, summed over variables.
        val/loss, test/loss (nats, lower): -log (1/K sum_k p_k(x)) over all K orders.
        val/bits_per_dim, test/bits_per_dim (bits, lower): loss / (C H W log 2), of more than two
            levels.

    Raises:
        ValueError: an argument is out of its range.
    """

    started: Tensor

    configure_callbacks = log_steps
    reads_views = False

    def __init__(
        self,
        channels: int = 1,
        image_size: int = 28,
        levels: int = 2,
        hidden_dims: Sequence[int] = (500,),
        activation: str = "relu",
        orders: int = 1,
        dropout: float = 0.0,
        optimizer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if levels < 2:
            raise ValueError(f"levels must be at least 2, got {levels}")
        self.shape, self.levels, self.orders = (channels, image_size, image_size), levels, orders
        self.image_levels = levels
        size = 1 if levels == 2 else levels
        options = hidden_dims, activation, orders, dropout
        self.network = MaskedAutoencoder(math.prod(self.shape), size, *options)
        self.register_buffer("started", torch.zeros((), dtype=torch.uint8))

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, the hidden units: (B, C, H, W) -> (B, F)."""
        return self.network.features(image.flatten(1))

    def log_prob(self, image: Tensor) -> Tensor:
        """Log-probability in nats, the orders' probabilities averaged: (B, C, H, W) -> (B,)."""
        every = torch.stack([-self.nll(image, order) for order in range(self.orders)])
        return every.logsumexp(0) - math.log(self.orders)

    def nll(self, image: Tensor, order: int) -> Tensor:
        """-log p(x) in one order: (B, C, H, W) -> (B,)."""
        x = image.flatten(1)  # (B, D)
        numbers = self.network(x, order)  # (B, D, size)
        if self.levels == 2:
            return losses.bernoulli_nll(numbers[..., None], x[..., None, None])
        return losses.code_nll(numbers.movedim(2, 1)[..., None], self._level(x)[..., None])

    @torch.no_grad()
    def sample(self, n: int, temperature: float = 1.0) -> Tensor:
        """Draw one variable after the other, each vector in a random order: (n, C, H, W).

        ``temperature`` divides the logits: below 1 for likelier values.
        """
        chosen = torch.randint(self.orders, (n,), device=self.device)
        x = torch.zeros(n, math.prod(self.shape), device=self.device)
        for order, place in enumerate(self.network.places):
            rows = (chosen == order).nonzero()[:, 0]
            part = x[rows]
            for variable in place.argsort().tolist() if len(rows) else ():
                logits = self.network(part, order)[:, variable].float()  # (N, size)
                if self.levels == 2:
                    logits = F.pad(logits, (1, 0))  # of 0 and of 1
                value = torch.multinomial((logits / temperature).softmax(1), 1)[:, 0]
                part[:, variable] = value / (self.levels - 1)
            x[rows] = part
        return x.unflatten(1, self.shape)

    def on_fit_start(self) -> None:
        """Start a fresh training at the training set's frequencies, with a pseudo-count of one.

        Grey values of two levels count as the loss has them, as probabilities.
        """
        data = data_of(self.trainer)
        if self.started or not isinstance(data, DataModule):
            return
        count, total = torch.zeros(math.prod(self.shape), self.levels, dtype=torch.float64), 0
        for batch in data.bank_dataloader("train"):
            x = data.to_device(batch)["image"].flatten(1)
            if self.levels == 2:
                count += torch.stack([1 - x, x], -1).double().sum(0)
            else:
                count += F.one_hot(self._level(x), self.levels).sum(0)
            total += len(x)
        logits = ((count + 1 / self.levels) / (total + 1)).log()  # (D, levels)
        logits = logits[:, 1:] - logits[:, :1] if self.levels == 2 else logits
        with torch.no_grad():
            self.network.last.bias.copy_(logits.flatten())
            self.started.fill_(1)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Nats per vector in the order whose turn it is, mean over the batch."""
        return {"loss": self.nll(batch["image"], self.global_step % self.orders).mean()}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Nats per vector, all orders averaged."""
        nats = -self.log_prob(batch["image"]).mean()
        if self.levels == 2:
            return {"loss": nats}
        return {"loss": nats, "bits_per_dim": nats / (math.prod(self.shape) * math.log(2))}

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _level(self, x: Tensor) -> Tensor:
        """Values 0 ... levels - 1 of numbers in [0, 1]."""
        return (x * (self.levels - 1)).round().clamp(0, self.levels - 1).long()
