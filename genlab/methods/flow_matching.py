"""Flow matching: a network learns the velocity of paths from noise to images.

Lipman, Chen, Ben-Hamu, Nickel, Le 2022, arXiv:2210.02747; rectified flow: Liu, Gong, Liu 2022,
arXiv:2209.03003; pairs by optimal transport: Tong et al. 2023, arXiv:2302.00482; guidance: Ho &
Salimans 2022, arXiv:2207.12598; features of a denoiser: Xiang et al. 2023, arXiv:2303.09769.
Departures: the loss is a sum over dimensions, not their mean; pixels are spread over their cells in
training too, so that the density is one of images in levels; with classes, optimal transport pairs
within a class.
"""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import distributed, losses, networks, optim
from genlab.augment.draws import Params, Shape, for_images, rows_of_this_rank
from genlab.contracts import Batch
from genlab.metrics import log_steps
from genlab.networks import odes
from genlab.networks.denoisers.factory import denoiser
from genlab.networks.flows.dequantise import Pixels
from genlab.networks.interpolation import latent_path

PAIRINGS = ("independent", "transport")
FEATURE_TIME = 0.9  # features of a nearly clean image
STREAM = 112  # of validation's draws


class FlowMatching(L.LightningModule):
    """Generator by an ordinary differential equation whose velocity is learnt by regression.

    Time goes from 0, standard normal noise, to 1, the image. Samples, features, validation and
    densities are those of the average of the weights.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        num_classes: K of the data.
        network: ``unet``, or ``mlp`` for points; see `networks.denoisers.factory`.
        path: ``straight`` (optimal transport's line) or ``variance_preserving``.
        pairing: pairs of noise and images: ``independent``, or the cheapest assignment in the
            global batch, ``transport``, found on the CPU in time of its third power.
        conditional: True for a velocity that knows the class.
        label_dropout: fraction of labels hidden in training, image by image, if ``conditional``.
        guidance: weight w of v(class) + w (v(class) - v(no class)) in sampling; 0 for none.
        preprocess: map of pixels: ``symmetric``, to [-1, 1); others and ``none``, for numbers that
            are not pixels, in `networks.flows.dequantise`.
        levels: values a pixel can have; samples are rounded to them.
        ema_decay: decay of the average of the weights.
        solver: ``euler``, ``midpoint``, ``heun``, ``rk4`` or ``dopri5`` for samples; see
            `networks.odes`.
        solver_steps: number of steps of its grid.
        likelihood_solver: solver for densities; Euler's are too high.
        likelihood_steps: number of steps of its grid.
        tolerance: error of a step of ``dopri5``.
        probes: random signs for a density's divergence; 0 for the exact divergence.
        test_likelihood: True to measure the density of every test image, by
            solver evaluations with a backward pass for each probe or dimension.
        optimizer: settings of the optimiser; see `optim.build`.
        network_kwargs: settings of the network (``width``, ``multipliers`` ...).

    Attributes:
        nfe: evaluations of the network for each image of the latest sample or density.

    Logs:
        train/loss (squared distance, lower): ||v(x_t, t) - u||^2, summed over dimensions, mean over
            images; u is the velocity of the path at x_t, t uniform in [0, 1].
        val/loss, test/loss (squared distance, lower): the same of the averaged weights on
            independent pairs, with labels, at a noise and a time that belong to the image.
        test/nll (nats, lower): -log p(x) of dequantised pixels in units of a level, mean over
            images, without labels and guidance.
        test/bits_per_dim (bits, lower): nll / (C H W log 2), of images in levels.
        test/nfe (evaluations): evaluations of the network for each density.

    Raises:
        ValueError: an argument is unknown or out of its range.
    """

    configure_callbacks = log_steps
    reads_views = False

    def __init__(
        self,
        channels: int = 1,
        image_size: int = 28,
        num_classes: int = 10,
        network: str = "unet",
        path: str = "straight",
        pairing: str = "independent",
        conditional: bool = False,
        label_dropout: float = 0.1,
        guidance: float = 0.0,
        preprocess: str = "symmetric",
        levels: int = 256,
        ema_decay: float = 0.999,
        solver: str = "midpoint",
        solver_steps: int = 20,
        likelihood_solver: str = "rk4",
        likelihood_steps: int = 20,
        tolerance: float = 1e-5,
        probes: int = 1,
        test_likelihood: bool = False,
        optimizer: dict[str, Any] | None = None,
        network_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self._check_arguments()
        self.num_classes, self.nfe = (num_classes if conditional else 0), 0
        self.shape = (channels, image_size, image_size)
        self.pixels = Pixels(preprocess, levels)
        self.velocity = denoiser(
            network, channels, image_size, self.num_classes, **(network_kwargs or {})
        )
        self.velocity_ema = networks.EMA(self.velocity, ema_decay)

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, at time 0.9, without noise: (B, C, H, W) -> (B, F)."""
        x, _ = self.pixels(image, torch.full_like(image, 0.5))
        t = x.new_full((len(x),), FEATURE_TIME)
        x, _ = losses.path_point(self.hparams["path"], torch.zeros_like(x), x, t)
        network: Any = self.velocity_ema.average
        features: Tensor = network.features(x, t)
        return features

    @torch.no_grad()
    def encode(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Noise that the flow takes to the image: (B, C, H, W), (B,) -> (B, D)."""
        x, _ = self.pixels(image, torch.full_like(image, 0.5))
        return self._solve(x, label, (1.0, 0.0)).flatten(1)

    @torch.no_grad()
    def decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """The end of the flow from this noise: (B, D), (B,) -> (B, C, H, W) in [0, 1]."""
        return self.pixels.inverse(self._solve(z.unflatten(1, self.shape), label, (0.0, 1.0)))

    @torch.no_grad()
    def sample(self, n: int, label: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draw noise, its spread times ``temperature``, and follow the flow: (n, C, H, W).

        The classes are ``label`` (n,), -1 for none, by default all in turn if ``conditional``.
        """
        if label is None and self.num_classes:
            label = torch.arange(n) % self.num_classes
        z = torch.randn(n, math.prod(self.shape), device=self.device)
        return self.decode(temperature * z, None if label is None else label.to(self.device))

    @torch.no_grad()
    def interpolate(self, start: Tensor, end: Tensor, steps: int, spherical: bool = True) -> Tensor:
        """Arcs or lines between noises: 2 x (B, C, H, W) -> (B, steps, C, H, W)."""
        paths = latent_path(self.encode(start), self.encode(end), steps, spherical)  # (B, steps, D)
        return torch.stack([self.decode(path) for path in paths])

    def log_prob(self, image: Tensor) -> Tensor:
        """Log-density in nats, of dequantised pixels in units of a level: (B, C, H, W) -> (B,).

        Without a class and without guidance, which has no density.
        """
        shape = (self.hparams["probes"], *image.shape)
        signs = torch.randint(2, shape, device=image.device).to(image.dtype)
        return self._log_prob(image, torch.rand_like(image), signs)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Squared error of the velocity at a random time of every path, mean over the batch."""
        image, label = batch["image"], self._label(batch)  # (B, C, H, W), (B,)
        data, _ = self.pixels(image, torch.rand_like(image))
        noise = self.pair(torch.randn_like(data), data, label)
        t = torch.rand(len(data), device=data.device, dtype=data.dtype)
        if label is not None and self.hparams["label_dropout"]:
            hidden = torch.rand(len(label), device=label.device) < self.hparams["label_dropout"]
            label = label.masked_fill(hidden, -1)
        x, target = losses.path_point(self.hparams["path"], noise, data, t)
        return {"loss": losses.velocity_error(self.velocity(x, t, label), target).mean()}

    def pair(self, noise: Tensor, data: Tensor, label: Tensor | None) -> Tensor:
        """This process's noise in the order of its data: 2 x (B, C, H, W), (B,) -> as noise."""
        if self.hparams["pairing"] == "independent":
            return noise
        every, label_of_all = (
            None if x is None else distributed.interleave(distributed.gather(x))
            for x in (noise, label)
        )
        assert every is not None
        pairs = losses.transport_pairs(
            every, distributed.interleave(distributed.gather(data)), label_of_all
        )
        return every[pairs[rows_of_this_rank(len(data))[0]]]

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Squared error of the averaged velocity, at each image's own noise and time."""
        drawn = self._drawn(batch)
        data, _ = self.pixels(batch["image"], drawn["cell"])
        t = drawn["t"].to(data.dtype)
        x, target = losses.path_point(self.hparams["path"], drawn["noise"].to(data), data, t)
        velocity = self.velocity_ema.average(x, t, self._label(batch))
        return {"loss": losses.velocity_error(velocity, target).mean()}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As validation; and the density, if asked for, with draws that belong to the image."""
        figures = self.validation_step(batch, batch_idx)
        if self.hparams["test_likelihood"]:
            drawn = self._drawn(batch)
            signs = drawn["signs"].movedim(1, 0)
            nll = -self._log_prob(batch["image"], drawn["cell"], signs).mean()
            figures |= {"nll": nll, "nfe": torch.full_like(nll, float(self.nfe))}
            if self.pixels.quantised:
                figures["bits_per_dim"] = nll / (math.prod(self.shape) * math.log(2))
        return figures

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The average moves once per optimiser step, whatever the gradient accumulation."""
        super().optimizer_step(*args, **kwargs)
        self.velocity_ema.update(self.velocity, self.global_step + 1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _solve(self, x: Tensor, label: Tensor | None, span: tuple[float, float]) -> Tensor:
        """Along the averaged velocity, guided where there is a label: -> (B, C, H, W)."""
        weight = self.hparams["guidance"] if label is not None else 0.0

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            known: Tensor = self.velocity_ema.average(x, t, label)
            if not weight:
                return known
            return known + weight * (known - self.velocity_ema.average(x, t))

        given = self.hparams
        options = given["solver"], given["solver_steps"], span, given["tolerance"]
        end, evaluations = odes.solve(velocity, x, *options)
        self.nfe = evaluations * (2 if weight else 1)
        return end

    def _log_prob(self, image: Tensor, cell: Tensor, signs: Tensor) -> Tensor:
        """Log-density at places in the pixels' cells, by random signs (S, B, C, H, W): -> (B,)."""
        given = self.hparams
        options = given["likelihood_solver"], given["likelihood_steps"]
        with torch.inference_mode(False):  # the divergence is a derivative
            x, log_det = self.pixels(image.clone(), cell.clone())
            probes = signs.to(x).clone() * 2 - 1 if given["probes"] else None
            log_p, self.nfe = odes.log_density(
                self.velocity_ema.average, x, *options, probes, given["tolerance"]
            )
        return log_p + log_det

    def _drawn(self, batch: Batch) -> Params:
        """Draws of validation, which belong to the image: the same in every epoch and process."""
        return for_images(self._draw, batch, training=False, stream=STREAM)

    def _draw(self, shape: Shape, generator: torch.Generator) -> Params:
        """Places in cells, noise, times (each of n spread evenly), and signs as 0 and 1."""
        n = shape[0]
        options: dict[str, Any] = {"generator": generator, "device": generator.device}
        signs = torch.randint(2, (n, self.hparams["probes"], *shape[1:]), **options)
        places = {"cell": torch.rand(shape, **options), "noise": torch.randn(shape, **options)}
        t = (torch.randperm(n, **options) + 0.5) / n
        return places | {"t": t, "signs": signs}

    def _label(self, batch: Batch) -> Tensor | None:
        """Labels for the network, -1 where unknown; None for a velocity without classes."""
        if not self.num_classes:
            return None
        label = batch["label"]
        return label.where(label < self.num_classes, -1)

    def _check_arguments(self) -> None:
        given = self.hparams
        for name, known in (("path", losses.PATHS), ("pairing", PAIRINGS)):
            if given[name] not in known:
                raise ValueError(f"unknown {name} {given[name]!r}; choose from {', '.join(known)}")
        odes.check_solver(given["solver"], given["solver_steps"])
        odes.check_solver(given["likelihood_solver"], given["likelihood_steps"])
        if not 0 <= given["label_dropout"] < 1:
            raise ValueError(f"label_dropout {given['label_dropout']} must lie in [0, 1)")
        if given["conditional"] and given["num_classes"] < 1:
            raise ValueError("conditional requires classes, the data have none")
        if given["guidance"] and not (given["conditional"] and given["label_dropout"]):
            raise ValueError("guidance requires conditional=true and label_dropout above 0")
        if given["guidance"] < 0 or given["probes"] < 0 or given["tolerance"] <= 0:
            raise ValueError("guidance and probes must be at least 0, tolerance above 0")
