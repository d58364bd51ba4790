"""NSF: neural spline flows, by couplings or autoregressive, with linear layers between.

Durkan, Bekasov, Murray, Papamakarios 2019, arXiv:1906.04032; reference code bayesiains/nsf.
Departures: those of `networks.flows.splines` (straight on beyond the box with the corner's slope,
bounded parameters); ActNorm before each layer; halves of the mixed vector in place of its even and
odd numbers; no dropout; `whiten`, a fixed linear layer in front whose log-determinant is counted.

Images are flattened, in raster order.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from genlab.methods._flow import FlowMethod
from genlab.networks.flows import bijections
from genlab.networks.flows.actnorm import ActNorm
from genlab.networks.flows.autoregressive import Autoregressive
from genlab.networks.flows.coupling_nets import residual_mlp
from genlab.networks.flows.couplings import Change, HalfCoupling, change
from genlab.networks.flows.dequantise import Pixels
from genlab.networks.flows.image_flow import ImageFlow
from genlab.networks.flows.invertible_conv import InvertibleConv
from genlab.networks.flows.latents import Latents
from genlab.networks.flows.masked import masked_residual_net
from genlab.networks.flows.whitening import Whitening

TRANSFORMS = ("coupling", "autoregressive")


class NSF(FlowMethod):
    """Neural spline flow of vectors, or of flattened images.

    Args:
        channels: C of the images; D of vectors, at least 2.
        image_size: H = W in pixels; 1 for vectors.
        transform: ``coupling``: half of the numbers changes as a function of the other half;
            ``autoregressive``: each as a function of those before it, where samples take D passes.
        steps: number of steps: a learned linear map by its LU factors, then a transform.
        width: hidden units of the residual network of each transform.
        blocks: residual blocks of two layers in each.
        bins: number of bins of a spline.
        bound: half the side of the box in which a spline acts.
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
        transform: str = "coupling",
        steps: int = 10,
        width: int = 256,
        blocks: int = 2,
        bins: int = 8,
        bound: float = 3.0,
        whiten: bool = True,
        preprocess: str = "logit",
        levels: int = 256,
        alpha: float = 0.05,
        optimizer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        shape, dim = (channels, image_size, image_size), channels * image_size**2
        if transform not in TRANSFORMS:
            raise ValueError(
                f"unknown transform {transform!r}; choose from {', '.join(TRANSFORMS)}"
            )
        if min(steps, width) < 1 or dim < 2:
            raise ValueError(
                f"steps {steps} and width {width} must be at least 1, and {dim} numbers at least 2"
            )
        spline = change("spline", bins, bound)
        layers: list[nn.Module] = [bijections.Reshape(shape, (dim,))]
        layers += [Whitening(dim)] if whiten else []
        for _ in range(steps):
            layers += [ActNorm(dim), InvertibleConv(dim), self._transform(dim, spline)]
        self.flow = ImageFlow(
            Pixels(preprocess, levels, alpha), bijections.Chain(layers), Latents(dim)
        )

    def _transform(self, dim: int, spline: Change) -> nn.Module:
        width, blocks = self.hparams["width"], self.hparams["blocks"]
        if self.hparams["transform"] == "autoregressive":
            return Autoregressive(masked_residual_net(dim, spline.size, width, blocks), spline)
        stay = (dim + 1) // 2
        net = residual_mlp(stay, (dim - stay) * spline.size, width, blocks)
        return HalfCoupling(net, spline)
