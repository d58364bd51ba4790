"""NICE: four additive couplings and one scaling, on flattened images.

Dinh, Krueger, Bengio 2014, arXiv:1410.8516. One part of the pixels is the even ones of the
flattened image. Departure: the scaling starts from the first batch's deviations, with a shift
(ActNorm); from 1 it takes thousands of steps to get near the width of a black pixel's noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from genlab.methods._flow import FlowMethod
from genlab.networks.flows import bijections
from genlab.networks.flows.actnorm import ActNorm
from genlab.networks.flows.coupling_nets import dense_net
from genlab.networks.flows.couplings import HalfCoupling, change
from genlab.networks.flows.dequantise import Pixels
from genlab.networks.flows.image_flow import ImageFlow
from genlab.networks.flows.latents import Latents


class NICE(FlowMethod):
    """Normalizing flow that keeps volumes up to its last layer.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        couplings: number of additive couplings, even and odd pixels in turn; at least 3 for every
            pixel to depend on every other.
        hidden_dims: widths of each coupling's MLP.
        activation: activation between their layers, by name.
        latents: ``logistic`` or ``normal``.
        preprocess: map from pixels to numbers, see `networks.flows.dequantise`.
        levels: values a pixel can have.
        optimizer: settings of the optimiser; see `optim.build`.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        channels: int = 1,
        image_size: int = 28,
        couplings: int = 4,
        hidden_dims: Sequence[int] = (1000, 1000, 1000, 1000, 1000),
        activation: str = "relu",
        latents: str = "logistic",
        preprocess: str = "unit",
        levels: int = 256,
        optimizer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        shape, dim = (channels, image_size, image_size), channels * image_size**2
        if couplings < 1 or dim < 2:
            raise ValueError(f"couplings {couplings} at least 1, and {dim} numbers at least 2")
        even, every = (dim + 1) // 2, torch.arange(dim)
        layers: list[nn.Module] = [bijections.Reshape(shape, (dim,))]
        layers += [bijections.Permute(torch.cat([every[0::2], every[1::2]]))]
        for i in range(couplings):
            stay = even if i % 2 == 0 else dim - even
            net = dense_net(stay, dim - stay, hidden_dims, activation)
            layers += [HalfCoupling(net, change("additive"), flip=i % 2 == 1)]
        chain = bijections.Chain([*layers, ActNorm(dim)])
        self.flow = ImageFlow(Pixels(preprocess, levels), chain, Latents(dim, latents))
