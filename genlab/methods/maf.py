"""MAF: affine autoregressive layers in alternating orders; and IAF, the same in reverse.

Papamakarios, Pavlakou, Murray 2017, arXiv:1705.07057, reference code gpapamak/maf; Kingma et al.
2016 (IAF), arXiv:1606.04934. Departures: ActNorm in place of batch norm before each layer, so that
a vector's density depends on no other; z = x e^s + t in place of (x - mu) e^(-a), with |s| < 2; the
layers start as the identity; `whiten`, a fixed linear layer in front that their preprocessing
lacks and whose log-determinant is counted. IAF here is a density of its own, not the posterior of
a VAE, and affine, without the gate of its paper's layers.

Images are flattened, in raster order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from genlab.methods._flow import FlowMethod
from genlab.networks.flows import bijections
from genlab.networks.flows.actnorm import ActNorm
from genlab.networks.flows.autoregressive import Autoregressive, Inverted
from genlab.networks.flows.couplings import change
from genlab.networks.flows.dequantise import Pixels
from genlab.networks.flows.image_flow import ImageFlow
from genlab.networks.flows.latents import Latents
from genlab.networks.flows.masked import masked_net
from genlab.networks.flows.whitening import Whitening

DIRECTIONS = ("density", "sampling")


class MAF(FlowMethod):
    """Masked autoregressive flow of vectors, or of flattened images.

    Args:
        channels: C of the images; D of vectors.
        image_size: H = W in pixels; 1 for vectors.
        direction: direction that takes one pass: ``density`` (MAF), where samples take D passes;
            or ``sampling`` (IAF), where the density and training take D passes.
        steps: number of autoregressive layers, the first in the natural order, the next reversed.
        hidden_dims: widths of each layer's masked network.
        activation: activation of these networks, by name.
        whiten: True for a layer in front that whitens the training data.
        preprocess: map from pixels to numbers, see `networks.flows.dequantise`; ``none`` for
            vectors.
        levels: values a pixel can have.
        alpha: margin of the logit that keeps it finite.
        optimizer: settings of the optimiser; see `optim.build`.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        channels: int = 1,
        image_size: int = 8,
        direction: str = "density",
        steps: int = 5,
        hidden_dims: Sequence[int] = (512, 512),
        activation: str = "relu",
        whiten: bool = True,
        preprocess: str = "logit",
        levels: int = 256,
        alpha: float = 0.05,
        optimizer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if direction not in DIRECTIONS:
            raise ValueError(
                f"unknown direction {direction!r}; choose from {', '.join(DIRECTIONS)}"
            )
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        shape, dim = (channels, image_size, image_size), channels * image_size**2
        affine, reverse = change("affine"), torch.arange(dim).flip(0)
        layers: list[nn.Module] = [bijections.Reshape(shape, (dim,))]
        layers += [Whitening(dim)] if whiten else []
        for number in range(steps):
            net = masked_net(dim, affine.size, hidden_dims, activation)
            layer: nn.Module = Autoregressive(net, affine)
            layers += [bijections.Permute(reverse.clone())] if number else []
            layers += [ActNorm(dim), layer if direction == "density" else Inverted(layer)]
        self.flow = ImageFlow(
            Pixels(preprocess, levels, alpha), bijections.Chain(layers), Latents(dim)
        )
