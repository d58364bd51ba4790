"""Glow: steps of ActNorm, invertible 1x1 convolution and affine coupling, at several levels.

Kingma & Dhariwal 2018, arXiv:1807.03039; reference code openai/glow. Departures: ActNorm starts
from the batch of all processes, and there is none inside the couplings' networks; a soft bound of
the log-scale in place of sigmoid(s + 2); the class-conditional density covers all latents and not
only those of the last level, and without a label it is the mixture over classes; without classes
the last level's prior is the standard normal, not learnt.

``network: mlp`` has one level without squeeze: the pixels of the flattened image are the channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genlab.methods._flow import FlowMethod
from genlab.networks.flows import bijections
from genlab.networks.flows.actnorm import ActNorm
from genlab.networks.flows.coupling_nets import conv_net, dense_net
from genlab.networks.flows.couplings import HalfCoupling, change
from genlab.networks.flows.dequantise import Pixels
from genlab.networks.flows.image_flow import ImageFlow
from genlab.networks.flows.invertible_conv import InvertibleConv
from genlab.networks.flows.latents import Latents

MIXINGS = ("lu", "plain", "shuffle")
NETWORKS = ("conv", "mlp")


class Glow(FlowMethod):
    """Normalizing flow with learned mixtures of channels and learned priors of factored-out halves.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        num_classes: K of a conditional flow.
        network: network of the couplings: ``conv`` or ``mlp`` (flattened images).
        scales: levels L; each begins with a squeeze, all but the last end with a split.
        steps: number K of steps at each level.
        width: channels of the convolutions.
        hidden_dims: widths of an ``mlp``.
        coupling: ``affine``, ``additive`` or ``spline``.
        bins: number of bins of a spline.
        bound: half the side of the box in which a spline acts.
        mixing: mixing of channels before each coupling: 1x1 convolution as ``lu`` or ``plain``, or
            a fixed ``shuffle``.
        conditional: latents have a mean and a deviation for each class.
        preprocess: map from pixels to numbers, see `networks.flows.dequantise`.
        levels: values a pixel can have.
        alpha: margin of the logit that keeps it finite.
        optimizer: settings of the optimiser; see `optim.build`.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        num_classes: int = 10,
        network: str = "conv",
        scales: int = 3,
        steps: int = 8,
        width: int = 64,
        hidden_dims: Sequence[int] = (256, 256),
        coupling: str = "affine",
        bins: int = 8,
        bound: float = 4.0,
        mixing: str = "lu",
        conditional: bool = False,
        preprocess: str = "centred",
        levels: int = 256,
        alpha: float = 0.05,
        optimizer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        for name, value, known in (("network", network, NETWORKS), ("mixing", mixing, MIXINGS)):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(known)}")
        for name in ("scales", "steps", "width"):
            if self.hparams[name] < 1:
                raise ValueError(f"{name} must be at least 1, got {self.hparams[name]}")
        if network == "conv" and image_size % 2**scales:
            raise ValueError(f"scales {scales}: {image_size} pixels do not halve {scales} times")
        self.num_classes = num_classes if conditional else 0
        self.change = change(coupling, bins, bound)
        shape, dim = (channels, image_size, image_size), channels * image_size**2
        layers = self._level(shape, scales) if network == "conv" else self._flat(shape, dim)
        latents = Latents(dim, num_classes=self.num_classes)
        self.flow = ImageFlow(Pixels(preprocess, levels, alpha), layers, latents)

    @torch.no_grad()
    def classify(self, image: Tensor) -> Tensor:
        """The class under which the image is densest: (B, C, H, W) -> (B,)."""
        return self.flow.latents.log_prob_by_class(self.encode(image)).argmax(1)

    def _level(self, shape: tuple[int, int, int], scales: int) -> nn.Module:
        """Squeeze, K steps; then half of the channels goes on to the next level."""
        c, h, w = 4 * shape[0], shape[1] // 2, shape[2] // 2
        layers: list[nn.Module] = [bijections.Squeeze()]
        for _ in range(self.hparams["steps"]):
            net = conv_net(c // 2, c // 2 * self.change.size, self.hparams["width"])
            layers += self._step(c, net)
        if scales == 1:
            return bijections.Chain([*layers, bijections.Reshape((c, h, w), (c * h * w,))])
        rest = self._level((c // 2, h, w), scales - 1)
        return bijections.Chain(
            [*layers, bijections.FactorOut(rest, (c, h, w), learned_prior=True)]
        )

    def _flat(self, shape: tuple[int, int, int], dim: int) -> nn.Module:
        """Steps on the flattened image."""
        stay, hidden = (dim + 1) // 2, self.hparams["hidden_dims"]
        layers: list[nn.Module] = [bijections.Reshape(shape, (dim,))]
        for _ in range(self.hparams["steps"]):
            layers += self._step(
                dim, dense_net(stay, (dim - stay) * self.change.size, hidden, "relu")
            )
        return bijections.Chain(layers)

    def _step(self, c: int, net: nn.Module) -> list[nn.Module]:
        """A step of flow on ``c`` channels."""
        kind = self.hparams["mixing"]
        mixing: nn.Module
        if kind == "shuffle":
            mixing = bijections.Permute(torch.randperm(c))
        else:
            mixing = InvertibleConv(c, lu=kind == "lu")
        return [ActNorm(c), mixing, HalfCoupling(net, self.change)]
