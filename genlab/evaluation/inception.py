"""The Inception-v3 of published FIDs: TensorFlow's network of 2015, resizing included.

Szegedy et al. 2016, arXiv:1512.00567, as ported by pytorch-fid (M. Seitzer) and torch-fidelity
(A. Obukhov), whose weights files it loads. Against torchvision's network: average pooling leaves
the padding out, the last block pools by maximum, 1,008 classes. Departures: none.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import inception as torchvision_inception

from genlab.internals import messages, torch_parts

SIDE, DIM, CLASSES = 299, 2048, 1008


class Inception(nn.Module):
    """Inception-v3: bytes of colour images -> features of FID, logits of the Inception score.

    Args:
        weights: a state dict of pytorch-fid's or torch-fidelity's file; None for fresh weights.

    Raises:
        ValueError: the weights are of another network.
    """

    def __init__(self, weights: dict[str, Tensor] | None = None) -> None:
        super().__init__()
        network = torchvision_inception.Inception3(CLASSES, aux_logits=False, init_weights=False)
        for name, (kind, arguments) in BLOCKS.items():
            setattr(network, name, kind(*arguments))
        if weights is not None:
            try:
                network.load_state_dict(weights)
            except RuntimeError as error:
                why = messages.mismatch(error)
                raise ValueError(f"these are not weights of FID's Inception: {why}") from None
        self.head, network.fc = network.fc, nn.Identity()
        self.network = network.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) uint8 -> features (B, 2048), and logits without bias (B, 1008)."""
        if image.dtype != torch.uint8 or image.shape[1] != 3:
            raise ValueError(f"Inception takes bytes (B, 3, H, W), got {tuple(image.shape)}")
        features = self.network((tf_resize(image.float(), SIDE) - 128) / 128)
        return features, features @ self.head.weight.T


def tf_resize(image: Tensor, side: int) -> Tensor:
    """TensorFlow 1's bilinear resize: pixel i from i * old / new, no antialiasing; (B, C, H, W)."""
    for dim in (2, 3):
        old = image.shape[dim]
        place = torch.arange(side, device=image.device) * torch.tensor(old / side)
        low = place.long()
        share = (place - low).view([-1 if d == dim else 1 for d in range(4)])
        left, right = (image.index_select(dim, i.clamp(max=old - 1)) for i in (low, low + 1))
        image = left + (right - left) * share
    return image


class _TrueMean:
    """The pooling branch averages over the image alone, without the padding's zeros."""

    branch_pool: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        *rest, _ = torch_parts.inception_branches(self, x)  # type: ignore[arg-type]
        return torch.cat([*rest, self.branch_pool(self._pool(x))], 1)

    def _pool(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class _A(_TrueMean, torchvision_inception.InceptionA):
    pass


class _C(_TrueMean, torchvision_inception.InceptionC):
    pass


class _E(_TrueMean, torchvision_inception.InceptionE):
    pass


class _LastE(_E):
    """As the graph of 2015 has it: maximum, not mean."""

    def _pool(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, stride=1, padding=1)


BLOCKS: dict[str, tuple[type[Any], tuple[int, ...]]] = {
    "Mixed_5b": (_A, (192, 32)),
    "Mixed_5c": (_A, (256, 64)),
    "Mixed_5d": (_A, (288, 64)),
    "Mixed_6b": (_C, (768, 128)),
    "Mixed_6c": (_C, (768, 160)),
    "Mixed_6d": (_C, (768, 160)),
    "Mixed_6e": (_C, (768, 192)),
    "Mixed_7b": (_E, (1280,)),
    "Mixed_7c": (_LastE, (2048,)),
}
