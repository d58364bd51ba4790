"""Batch norms of generators whose gain and shift depend on the class or on the noise."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

HIDDEN = 32  # width of self-modulation's hidden layer, the reference code's


class Modulated(nn.Module):
    """A layer that is given the noise (B, D) and the class (B,) next to the map."""

    @abstractmethod
    def forward(self, x: Tensor, z: Tensor, label: Tensor | None) -> Tensor:
        """(B, C, H, W), (B, D), (B,) -> (B, C, H, W)."""


class ConditionalNorm(Modulated):
    """Batch norm with a gain and a shift for each class.

    The statistics are those of all classes together: in training a batch of one class moves them,
    so sample in eval mode. The gain begins at 1, the shift at 0.

    Source: de Vries et al. 2017, arXiv:1707.00683; in GANs Miyato and Koyama 2018,
    arXiv:1802.05637. Departure: the gain is stored as its difference from 1, so that weight decay
    pulls it there.

    Args:
        channels: C of the maps.
        num_classes: K.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Embedding(num_classes, channels)
        self.shift = nn.Embedding(num_classes, channels)
        nn.init.zeros_(self.gain.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, z: Tensor, label: Tensor | None) -> Tensor:
        """(B, C, H, W), (B, D), (B,) -> (B, C, H, W)."""
        return _modulated(self.norm(x), self.gain(label), self.shift(label))


class SelfModulatedNorm(Modulated):
    """Batch norm whose gain and shift a small network finds from the noise.

    gain(z) = 1 + A relu(W z), shift(z) = B relu(W z), with biases.

    Source: Chen, Lucic, Houlsby, Gelly 2018, arXiv:1810.01365. Departure: a class, if any, is part
    of z as its learned vector, in place of their product.

    Args:
        channels: C of the maps.
        latent_dim: D of z.
        hidden: width of the hidden layer.
    """

    def __init__(self, channels: int, latent_dim: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.hidden = nn.Linear(latent_dim, hidden)
        self.gain, self.shift = nn.Linear(hidden, channels), nn.Linear(hidden, channels)

    def forward(self, x: Tensor, z: Tensor, label: Tensor | None) -> Tensor:
        """(B, C, H, W), (B, D), (B,) -> (B, C, H, W)."""
        h = self.hidden(z).relu()  # (B, hidden)
        return _modulated(self.norm(x), self.gain(h), self.shift(h))


class Layers(nn.Sequential):
    """Layers in turn, of which some are modulated by the first one's input and the class."""

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """(B, D), (B,) -> the last layer's output."""
        x = z
        for layer in self:
            x = modulate(layer, x, z, label)
        return x


def modulate(layer: nn.Module, x: Tensor, z: Tensor, label: Tensor | None) -> Tensor:
    """The output of a layer, which is given noise and class if it is modulated."""
    out: Tensor = layer(x, z, label) if isinstance(layer, Modulated) else layer(x)
    return out


def _modulated(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """Each channel times 1 + gain, plus shift: (B, C, H, W), 2 x (B, C)."""
    return torch.addcmul(x + shift[:, :, None, None], x, gain[:, :, None, None])
