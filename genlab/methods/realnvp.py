"""RealNVP: couplings that alternate between the two parts of an image, at several scales.

Dinh, Sohl-Dickstein, Bengio 2016, arXiv:1605.08803; spline couplings: Durkan et al. 2019,
arXiv:1906.04032. Departures: ActNorm in place of batch norm between couplings, and neither batch
nor weight norm inside their networks, so that an image's density depends on no other image; these
see the masked image alone and have one width at all scales; the half that is done at a scale is
the lower rows of each 2 x 2 block, not two opposite corners; the bound of the log-scale is a
number.

``network: mlp`` has no scales: random halves of the flattened image, or of a vector, change in
turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from genlab.methods._flow import FlowMethod
from genlab.networks.flows import bijections
from genlab.networks.flows.actnorm import ActNorm
from genlab.networks.flows.coupling_nets import dense_net, residual_net
from genlab.networks.flows.couplings import CheckerboardCoupling, HalfCoupling, change
from genlab.networks.flows.dequantise import Pixels
from genlab.networks.flows.image_flow import ImageFlow
from genlab.networks.flows.latents import Latents
from genlab.networks.flows.whitening import Whitening

NETWORKS = ("residual", "mlp")


class RealNVP(FlowMethod):
    """Normalizing flow of checkerboard and channel couplings.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        network: network of the couplings: ``residual`` (convolutions) or ``mlp`` (flattened
            images).
        scales: number of scales; at each but the last: couplings, squeeze, couplings, and half of
            the channels is factored out.
        couplings: number of each kind at a scale, one more at the last; of an ``mlp`` flow, in all.
        width: channels of the residual networks.
        blocks: residual blocks in each of them.
        hidden_dims: widths of an ``mlp``.
        activation: activation of an ``mlp``, by name.
        coupling: ``affine``, ``additive`` or ``spline``.
        bins: number of bins of a spline.
        bound: half the side of the box in which a spline acts.
        whiten: True for a layer in front of an ``mlp`` flow that whitens the training data.
        preprocess: map from pixels to numbers, see `networks.flows.dequantise`.
        levels: values a pixel can have.
        alpha: margin of the logit that keeps it finite.
        optimizer: settings of the optimiser; see `optim.build`.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        channels: int = 1,
        image_size: int = 28,
        network: str = "residual",
        scales: int = 2,
        couplings: int = 3,
        width: int = 32,
        blocks: int = 2,
        hidden_dims: Sequence[int] = (512, 512),
        activation: str = "relu",
        coupling: str = "affine",
        bins: int = 8,
        bound: float = 4.0,
        whiten: bool = False,
        preprocess: str = "logit",
        levels: int = 256,
        alpha: float = 0.05,
        optimizer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if network not in NETWORKS:
            raise ValueError(f"unknown network {network!r}; choose from {', '.join(NETWORKS)}")
        for name in ("scales", "couplings", "width"):
            if self.hparams[name] < 1:
                raise ValueError(f"{name} must be at least 1, got {self.hparams[name]}")
        if whiten and network != "mlp":
            raise ValueError(f"whiten requires network: mlp, which flattens images, not {network}")
        if network == "residual" and image_size % 2 ** (scales - 1):
            raise ValueError(
                f"scales {scales}: {image_size} pixels do not halve {scales - 1} times"
            )
        shape, dim = (channels, image_size, image_size), channels * image_size**2
        self.change = change(coupling, bins, bound)
        layers = self._flat(shape, dim) if network == "mlp" else self._scale(shape, scales)
        self.flow = ImageFlow(Pixels(preprocess, levels, alpha), layers, Latents(dim))

    def _scale(self, shape: tuple[int, int, int], scales: int) -> nn.Module:
        """Couplings of this scale; then half of the channels goes on at half the size."""
        count, (c, h, w) = self.hparams["couplings"], shape
        if scales == 1:
            last = self._couplings(CheckerboardCoupling, c, count + 1)
            return bijections.Chain([*last, bijections.Reshape(shape, (c * h * w,))])
        boards = self._couplings(CheckerboardCoupling, c, count)
        halves = self._couplings(HalfCoupling, 4 * c, count)
        rest = self._scale((2 * c, h // 2, w // 2), scales - 1)
        done = bijections.FactorOut(rest, (4 * c, h // 2, w // 2), learned_prior=False)
        return bijections.Chain([*boards, bijections.Squeeze(), *halves, done])

    def _couplings(self, kind: Any, c: int, count: int) -> list[nn.Module]:
        """Couplings on images of ``c`` channels, the parts taking turns, ActNorm before each."""
        width, blocks = self.hparams["width"], self.hparams["blocks"]
        part = c if kind is CheckerboardCoupling else c // 2
        layers: list[nn.Module] = []
        for i in range(count):
            net = residual_net(part, part * self.change.size, width, blocks)
            layers += [ActNorm(c), kind(net, self.change, flip=i % 2 == 1)]
        return layers

    def _flat(self, shape: tuple[int, int, int], dim: int) -> nn.Module:
        """Couplings between random halves of the flattened image."""
        stay, hidden = (dim + 1) // 2, self.hparams["hidden_dims"]
        layers: list[nn.Module] = [bijections.Reshape(shape, (dim,))]
        layers += [Whitening(dim)] if self.hparams["whiten"] else []
        for _ in range(self.hparams["couplings"]):
            net = dense_net(
                stay, (dim - stay) * self.change.size, hidden, self.hparams["activation"]
            )
            order = bijections.Permute(torch.randperm(dim))
            layers += [ActNorm(dim), order, HalfCoupling(net, self.change)]
        return bijections.Chain(layers)
