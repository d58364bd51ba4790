"""Common base of VQPrior and MaskedPrior: models of a frozen tokenizer's codes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import checkpoints, optim
from genlab.contracts import Batch
from genlab.metrics import log_steps
from genlab.networks.autoencoders.tokenizers import CodeCache, frozen_tokenizer


class CodePrior(L.LightningModule):
    """Codes of training images, their classes, and images of drawn codes.

    A method's hyper-parameters are saved before `take` is called.

    Attributes:
        tokenizer: frozen autoencoder of codes, see `tokenizers.Tokenizer`.
        num_classes: K classes of the condition; 0 for none.
        label_dropout: fraction of labels hidden in training.
        cache_codes: True to keep each training image's codes, so that it is encoded once.
    """

    tokenizer: Any
    num_classes: int
    label_dropout: float
    cache_codes: bool

    configure_callbacks = log_steps
    reads_views = False

    def take(
        self,
        tokenizer: str | None,
        spec: dict[str, Any] | None,
        classes: int,
        label_dropout: float,
        cache_codes: bool,
    ) -> None:
        """Read the tokenizer, whose description replaces its file among the hyper-parameters.

        Args:
            tokenizer: checkpoint or run of the tokenizer.
            spec: instead, its description.
            classes: K of a conditional model; 0 for one without classes.
            label_dropout: fraction of labels hidden in training.
            cache_codes: True to keep each training image's codes.

        Raises:
            ValueError: no tokenizer or something else than one, or a fraction outside [0, 1).
        """
        if not 0 <= label_dropout < 1:
            raise ValueError(f"label_dropout {label_dropout} must lie in [0, 1)")
        self.tokenizer = frozen_tokenizer(tokenizer, spec)
        self.hparams.update(tokenizer=None, tokenizer_spec=checkpoints.spec(self.tokenizer))
        self.num_classes, self.label_dropout = classes, label_dropout
        self.cache_codes = cache_codes
        self._cache: CodeCache | None = None

    def train(self, mode: bool = True) -> CodePrior:
        """The tokenizer stays in eval mode."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: the tokenizer's, (B, D)."""
        return self.tokenizer(image)

    @abstractmethod
    def draw(self, n: int, condition: Tensor | None, temperature: float) -> Tensor:
        """Grids of codes: labels (n,) with -1 for none, or None -> (n, h, w)."""

    @torch.no_grad()
    def sample_codes(self, n: int, label: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draw n grids of codes: (n, h, w).

        Args:
            n: number of grids.
            label: classes (n,), -1 for none. By default uniformly drawn ones when conditional.
            temperature: divides the logits; below 1 for likelier codes.

        Raises:
            ValueError: an unknown class, or a temperature of 0 or less.
        """
        if temperature <= 0:
            raise ValueError(f"temperature {temperature} must be > 0")
        if label is None and self.num_classes:
            label = torch.randint(self.num_classes, (n,), device=self.device)
        elif label is not None and self.num_classes and int(label.max()) >= self.num_classes:
            raise ValueError(f"label {int(label.max())} is not one of {self.num_classes} classes")
        condition = self.condition(None if label is None else label.to(self.device))
        return self.draw(n, condition, temperature)

    @torch.no_grad()
    def sample(self, n: int, label: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draw n images: (n, C, H, W) in [0, 1]; arguments as `sample_codes`."""
        codes = self.sample_codes(n, label, temperature)
        return torch.cat([self.decode(part) for part in codes.split(256)])

    def decode(self, codes: Tensor) -> Tensor:
        """The images of codes: (n, h, w) -> (n, C, H, W) in [0, 1]."""
        return self.tokenizer.decode(codes)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`; the frozen tokenizer is not in it."""
        return optim.build(self, self.hparams["optimizer"])

    def condition(self, label: Tensor | None) -> Tensor | None:
        """Labels for the network, -1 for others; None for a model without classes."""
        if label is None or not self.num_classes:
            return None
        return label.where(label < self.num_classes, -1)

    def partly_hidden(self, label: Tensor) -> Tensor:
        """Labels of a training batch, (B,), a share of them replaced by -1 when conditional."""
        if not (self.num_classes and self.label_dropout):
            return label
        hidden = torch.rand(len(label), device=label.device) < self.label_dropout
        return label.masked_fill(hidden, -1)

    def codes(self, batch: Batch) -> Tensor:
        """The codes of a training batch, (B, h, w)."""
        if not self.cache_codes:
            return self.tokenizer.encode(batch["image"])
        if self._cache is None:
            self._cache = CodeCache()
        return self._cache(batch["image"], batch["index"], self.tokenizer.encode)


def conditional_classes(class_conditional: bool, num_classes: int) -> int:
    """Number of classes of a model's condition, 0 for none.

    Raises:
        ValueError: a condition on classes of data without any.
    """
    if class_conditional and num_classes < 1:
        raise ValueError(f"class_conditional requires classes, the data have {num_classes}")
    return num_classes if class_conditional else 0
