"""Glow: steps of ActNorm, invertible 1x1 convolution and affine coupling, at several levels.

Kingma & Dhariwal 2018, arXiv:1807.03039; reference code openai/glow. Departures: ActNorm starts
from the batch of all processes, and there is none inside the couplings' networks; a soft bound of
the log-scale in place of sigmoid(s + 2); the class-conditional density covers all latents and not
only those of the last level, and without a label it is the mixture over classes; without classes
the last level's prior is the standard normal, not learnt. ``network: mlp``
has one level without squeeze: the pixels of the flattened image are the channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from genlab import optim
from genlab.networks.flows import bijections
from genlab.networks.flows.actnorm import ActNorm
from genlab.networks.flows.coupling_nets import conv_net, dense_net
from genlab.networks.flows.couplings import HalfCoupling, change
from genlab.networks.flows.dequantise import Pixels
from genlab.networks.flows.image_flow import ImageFlow
from genlab.networks.flows.invertible_conv import InvertibleConv
from genlab.networks.flows.latents import Latents
from genlab.networks.interpolation import latent_path

MIXINGS = ("lu", "plain", "shuffle")
NETWORKS = ("conv", "mlp")


class Glow(L.LightningModule):
    """Normalizing flow with learned mixtures of the channels and learned priors of what is done.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        num_classes: K of a conditional flow.
        network: of the couplings: ``conv`` or ``mlp`` (flattened images).
        scales: levels L; each begins with a squeeze, all but the last end with a split.
        steps: K, of each level.
        width: channels of the convolutions.
        hidden_dims: widths of an ``mlp``.
        coupling: ``affine``, ``additive`` or ``spline``.
        bins: of a spline.
        bound: a spline changes what lies in [-bound, bound].
        mixing: of channels before each coupling: 1x1 convolution held as ``lu`` or ``plain``, or
            a fixed ``shuffle``.
        conditional: latents have a mean and a deviation for each class.
        preprocess: from pixels to numbers, see `networks.pixels.Pixels`.
        levels: values a pixel can have.
        alpha: of the logit.
        optimizer: how to train; see `optim.build`.

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
                raise ValueError(f"{name} {value!r} is none of {', '.join(known)}")
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

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, the latents: (B, C, H, W) -> (B, D)."""
        return self.encode(image)

    def encode(self, image: Tensor) -> Tensor:
        """Latents of the image, without noise: (B, C, H, W) -> (B, D)."""
        return self.flow.encode(image)

    def decode(self, z: Tensor) -> Tensor:
        """The image of these latents, exactly that which `encode` was given: -> (B, C, H, W)."""
        return self.flow.decode(z)

    @torch.no_grad()
    def reconstruct(self, image: Tensor) -> Tensor:
        """There and back: (B, C, H, W) -> (B, C, H, W), the same image."""
        return self.decode(self.encode(image))

    @torch.no_grad()
    def sample(self, n: int, label: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draw latents, their spread times ``temperature``, and decode: (n, C, H, W).

        With ``conditional``, of the classes ``label`` (n,), or of all classes alike.
        """
        return self.decode(self.flow.latents.sample(n, label, temperature))

    @torch.no_grad()
    def interpolate(self, start: Tensor, end: Tensor, steps: int, spherical: bool = True) -> Tensor:
        """From latents to latents on an arc, or a line: 2 x (B, C, H, W) -> (B, steps, C, H, W)."""
        paths = latent_path(self.encode(start), self.encode(end), steps, spherical)
        return torch.stack([self.decode(path) for path in paths])

    def log_prob(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Log-density in nats, of dequantised pixels in units of a level: -> (B,).

        With ``conditional``, given the label; without one (or -1) the mixture of all classes.
        """
        return self.flow.log_prob(image, self.cell_noise(image), label)

    def cell_noise(self, image: Tensor) -> Tensor:
        """Where in its cell each pixel lies, uniform in [0, 1): -> (B, C, H, W)."""
        return torch.rand_like(image)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Negative log-density in nats, of the class where known; mean over the batch."""
        return self._figures(batch["image"], batch["label"] if self.num_classes else None)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Negative log-density without labels; bits per dimension of images."""
        self._log("val", batch)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Negative log-density without labels; bits per dimension of images."""
        self._log("test", batch)

    @torch.no_grad()
    def classify(self, image: Tensor) -> Tensor:
        """The class under which the image is densest: (B, C, H, W) -> (B,)."""
        return self.flow.latents.log_prob_by_class(self.encode(image)).argmax(1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _figures(self, image: Tensor, label: Tensor | None = None) -> dict[str, Tensor]:
        log_prob = self.log_prob(image, label)
        figures = {"loss": -log_prob.mean()}
        if self.flow.pixels.quantised:
            figures["bits_per_dim"] = self.flow.bits_per_dim(log_prob)
        return figures

    def _log(self, split: str, batch: dict[str, Any]) -> None:
        named = {f"{split}/{name}": v for name, v in self._figures(batch["image"]).items()}
        size = len(batch["image"])
        self.log_dict(named, batch_size=size, on_step=False, on_epoch=True, sync_dist=True)

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
