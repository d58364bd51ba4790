"""Changes of images, bounded in every pixel, that raise a classifier's loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Logits = Callable[[Tensor], Tensor]  # (B, C, H, W) -> (B, K)


@torch.enable_grad()
def gradient_sign(logits: Logits, image: Tensor, label: Tensor) -> Tensor:
    """Sign of the gradient of each image's cross entropy: -> (B, C, H, W) of -1, 0 and 1.

    In float64 from the scores on: a sure classifier's gradient would be 0 in float32.
    """
    image = image.detach().requires_grad_()
    loss = F.cross_entropy(logits(image).double(), label, reduction="sum")
    return torch.autograd.grad(loss, image)[0].sign()


def fgsm(logits: Logits, image: Tensor, label: Tensor, epsilon: float) -> Tensor:
    """Images one step of a size up the loss, within [0, 1]: -> (B, C, H, W).

    Args:
        logits: classifier, of which each image's scores depend on that image alone.
        image: (B, C, H, W) in [0, 1].
        label: right classes (B,).
        epsilon: largest change of a pixel.

    Source: Goodfellow, Shlens, Szegedy 2014, arXiv:1412.6572, section 4.
    """
    return (image + epsilon * gradient_sign(logits, image, label)).clamp(0, 1)


def pgd(
    logits: Logits, image: Tensor, label: Tensor, epsilon: float, steps: int = 10, seed: int = 0
) -> Tensor:
    """Images after several smaller steps from a random start, none further than ``epsilon``.

    Args:
        logits: as for `fgsm`.
        image: (B, C, H, W) in [0, 1].
        label: right classes (B,).
        epsilon: largest change of a pixel.
        steps: number of steps, of 2.5 epsilon / steps each.
        seed: seed of the start.

    Source: Madry et al. 2017, arXiv:1706.06083; its step size is that of their code for MNIST.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(image.shape, generator=generator).to(image) * 2 - 1
    changed = (image + epsilon * noise).clamp(0, 1)
    for _ in range(steps):
        changed = changed + 2.5 * epsilon / steps * gradient_sign(logits, changed, label)
        changed = image + (changed - image).clamp(-epsilon, epsilon)
        changed = changed.clamp(0, 1)
    return changed
