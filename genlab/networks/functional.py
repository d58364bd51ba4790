"""Scores of a method under substituted weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


class _Logits(nn.Module):
    """A method's ``logits`` as a forward pass."""

    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method = method

    def forward(self, image: Tensor) -> Tensor:
        return self.method.logits(image)


def logits_with(method: Any, weights: Mapping[str, Tensor], image: Tensor) -> Tensor:
    """``method.logits`` with some parameters replaced for the one call: (B, C, H, W) -> (B, K).

    Args:
        method: method with ``logits``.
        weights: substituted parameters by name; the others stay.
        image: (B, C, H, W).
    """
    named = {f"method.{name}": weight for name, weight in weights.items()}
    return functional_call(_Logits(method), named, (image,))
