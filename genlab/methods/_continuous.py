"""Common base of FlowMatching, Diffusion and FFJORD: flows along a velocity."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import checkpoints, optim
from genlab.augment.draws import Params, Shape, for_images
from genlab.contracts import Batch, DataModule, data_of
from genlab.internals import lightning_parts
from genlab.metrics import log_steps
from genlab.networks import odes
from genlab.networks.flows.dequantise import Pixels
from genlab.networks.interpolation import latent_path
from genlab.networks.latent_space import ROWS, LatentSpace

FEATURE_TIME = 0.9  # features of a nearly clean image
STREAM = 112  # of validation's draws

Field = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # of images, times and classes


class ContinuousFlow(L.LightningModule):
    """A velocity from noise at time 0 to images at time 1; a method says how it is learnt.

    A method has the attributes below, `velocity_at`, the steps of training and validation, and the
    hyper-parameters ``solver``, ``solver_steps``, ``likelihood_solver``, ``likelihood_steps``,
    ``tolerance``, ``probes`` and ``optimizer``; perhaps ``test_likelihood``, ``guidance`` and, for
    a loss that is a density, ``jitter``.

    Logs:
        test/nll (nats, lower): -log p(x) of dequantised pixels in units of a level, mean over
            images, without labels and guidance.
        test/bits_per_dim (bits, lower): nll / (C H W log 2), of images in levels.
        test/density_nfe (evaluations): evaluations of the network for each density.

    Attributes:
        pixels: map between images and the numbers that flow, pixels or latents.
        shape: shape of these numbers, (C, H, W).
        num_classes: K of a velocity that knows classes, else 0.
        nfe: evaluations of the network for each image of the latest sample or density.
        bend: power of the densities' grid, which is finer near the image; see `networks.odes`.
    """

    pixels: Pixels | LatentSpace
    shape: tuple[int, int, int]
    num_classes: int = 0
    nfe: int = 0
    bend: float = 3.0  # equal steps are a nat wrong at a constant byte, these 0.005

    configure_callbacks = log_steps
    reads_views = False

    @abstractmethod
    def velocity_at(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Velocity of samples and densities: (B, C, H, W), (B,), (B,) -> (B, C, H, W)."""

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

        The classes are ``label`` (n,), -1 for none, by default all in turn if there are any.
        """
        return self.decode(temperature * self._noise(n), self._wanted(n, label))

    @torch.no_grad()
    def interpolate(self, start: Tensor, end: Tensor, steps: int, spherical: bool = True) -> Tensor:
        """Arcs or lines between noises: 2 x (B, C, H, W) -> (B, steps, C, H, W)."""
        paths = latent_path(self.encode(start), self.encode(end), steps, spherical)  # (B, steps, D)
        return torch.stack([self.decode(path) for path in paths])

    def log_prob(self, image: Tensor) -> Tensor:
        """Log-density in nats, of dequantised pixels in units of a level: (B, C, H, W) -> (B,).

        Without a class and without guidance, which has no density.

        Raises:
            ValueError: what flows are latents.
        """
        if isinstance(self.pixels, LatentSpace):
            raise ValueError("log_prob requires pixels, and model.space has latents")
        return self._density(image, torch.rand_like(image), self._signs(image)).log_p

    def on_fit_start(self) -> None:
        """Standardise latents by the training images, in a fresh training; in every process by all.

        Raises:
            ValueError: the Trainer has no data module.
        """
        if not isinstance(self.pixels, LatentSpace) or self.pixels.fitted:
            return
        data = data_of(self.trainer)
        if not isinstance(data, DataModule):
            raise ValueError("space requires a data module")
        batches = data.bank_dataloader("train", most=ROWS)
        self.pixels.fit(data.to_device(batch, self.device)["image"] for batch in batches)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As validation; and the density, if asked for, with draws that belong to the image."""
        figures: Any = self.validation_step(batch, batch_idx)
        if self.hparams["test_likelihood"]:
            figures |= self._likelihood(self._own_log_prob(batch), "nll")
        return dict(figures)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _solve(self, x: Tensor, label: Tensor | None, span: tuple[float, float]) -> Tensor:
        """Along the velocity, guided where there is a label: -> (B, C, H, W)."""
        velocity, each = self._guided(self.velocity_at, label)
        options = *self._grid_of_training(), span, self.hparams["tolerance"]
        end, evaluations = odes.solve(velocity, x, *options)
        self.nfe = each * evaluations
        return end

    def _guided(self, field: Field, label: Tensor | None) -> tuple[odes.Velocity, int]:
        """A field under its class, and beyond it by the guidance w; evaluations of it in a call."""
        weight = 0.0 if label is None else float(self.hparams.get("guidance") or 0.0)

        def known(x: Tensor, t: Tensor) -> Tensor:
            return field(x, t, label)

        def beyond(x: Tensor, t: Tensor) -> Tensor:
            under = field(x, t, label)
            return under + weight * (under - field(x, t, None))

        return (beyond, 2) if weight else (known, 1)

    def _density(
        self, image: Tensor, cell: Tensor, signs: Tensor, gradient: bool = False
    ) -> odes.Density:
        """Density at places in the pixels' cells, by random signs (S, B, C, H, W).

        With a gradient on the grid of training, and with the energies of its path.
        """
        given = self.hparams
        with torch.inference_mode(False):  # the divergence is a derivative
            x, log_det = self.pixels(image.clone(), cell.clone())
            probes = signs.to(x).clone() * 2 - 1 if given["probes"] else None
            grid = self._grid_of_training() if gradient else self._grid_of_densities()
            jitter = given["jitter"] if gradient else 0.0
            options = *grid, probes, given["tolerance"], gradient, self.bend, jitter, gradient
            found = odes.log_density(self.velocity_at, x, *options)
        self.nfe = found.evaluations
        return found._replace(log_p=found.log_p + log_det)

    def _own_log_prob(self, batch: Batch) -> Tensor:
        """Log-density by draws that belong to the image: (B,)."""
        drawn = self._drawn(batch)
        return self._density(batch["image"], drawn["cell"], drawn["signs"].movedim(1, 0)).log_p

    def _likelihood(self, log_prob: Tensor, name: str) -> dict[str, Tensor]:
        """Metrics of log-densities in nats (B,), their mean as ``name``."""
        nll = -log_prob.mean()
        figures = {name: nll, "density_nfe": torch.full_like(nll.detach(), float(self.nfe))}
        if self.pixels.quantised:
            figures["bits_per_dim"] = nll / (math.prod(self.shape) * math.log(2))
        return figures

    def _grid_of_training(self) -> tuple[str, int]:
        """Solver and steps for samples, and for a loss that is a density."""
        return self.hparams["solver"], self.hparams["solver_steps"]

    def _grid_of_densities(self) -> tuple[str, int]:
        """Solver and steps for densities."""
        return self.hparams["likelihood_solver"], self.hparams["likelihood_steps"]

    def _signs(self, image: Tensor) -> Tensor:
        """Random signs as 0 and 1: (S, B, C, H, W)."""
        return torch.randint(2, (self.hparams["probes"], *image.shape), device=image.device)

    def _noise(self, n: int) -> Tensor:
        """Draws of the noise, (n, D)."""
        return torch.randn(n, math.prod(self.shape), device=self.device)

    def _wanted(self, n: int, label: Tensor | None) -> Tensor | None:
        """Classes to draw, (n,): those that are asked for, else all in turn; None without any."""
        if label is None and self.num_classes:
            label = torch.arange(n) % self.num_classes
        return None if label is None else label.to(self.device)

    def _drawn(self, batch: Batch) -> Params:
        """Draws of validation, which belong to the image: the same in every epoch and process."""
        return for_images(self._draw, batch, training=False, stream=STREAM)

    def _draw(self, shape: Shape, generator: torch.Generator) -> Params:
        """Places in cells, noise, times (each of n spread evenly), and signs as 0 and 1."""
        n = shape[0]
        options: dict[str, Any] = {"generator": generator, "device": generator.device}
        signs = torch.randint(2, (n, self.hparams["probes"], *shape[1:]), **options)
        cell, noise = torch.rand(shape, **options), torch.randn(n, *self.shape, **options)
        t = (torch.randperm(n, **options) + 0.5) / n
        return {"cell": cell, "noise": noise, "t": t, "signs": signs}

    def _label(self, batch: Batch) -> Tensor | None:
        """Labels for the network, -1 where unknown; None for a network without classes."""
        if not self.num_classes:
            return None
        label = batch["label"]
        return label.where(label < self.num_classes, -1)

    def _hidden(self, label: Tensor | None) -> Tensor | None:
        """The labels of training, of which a fraction is hidden, image by image."""
        if label is None or not self.hparams["label_dropout"]:
            return label
        chance = torch.rand(len(label), device=label.device)
        return label.masked_fill(chance < self.hparams["label_dropout"], -1)

    def _numbers(self) -> tuple[Pixels | LatentSpace, tuple[int, int, int]]:
        """Map between images and the numbers that flow, and their shape."""
        given = self.hparams
        path, spec, side = given["space"], given["space_spec"], given["image_size"]
        if path is None and spec is None:
            shape = given["channels"], side, side
            return Pixels(given["preprocess"], given["levels"]), shape
        if given["test_likelihood"]:
            raise ValueError(
                "test_likelihood requires pixels, and model.space has latents: "
                "set model.test_likelihood=false"
            )
        make, source = (checkpoints.build, spec) if path is None else (checkpoints.load, path)
        autoencoder = lightning_parts.outside_cli(make, source)
        given.update(space=None, space_spec=checkpoints.spec(autoencoder))
        space = LatentSpace(autoencoder, given["channels"], side)
        return space, space.shape

    def _check_solvers(self) -> None:
        given = self.hparams
        for names in (("solver", "solver_steps"), ("likelihood_solver", "likelihood_steps")):
            odes.check_solver(given[names[0]], given[names[1]], names)
        if given["probes"] < 0:
            raise ValueError(f"probes {given['probes']} must be at least 0")
        if given["tolerance"] <= 0:
            raise ValueError(f"tolerance {given['tolerance']} must be above 0")

    def _check_classes(self) -> None:
        given = self.hparams
        if not 0 <= given["label_dropout"] < 1:
            raise ValueError(f"label_dropout {given['label_dropout']} must lie in [0, 1)")
        if given["conditional"] and given["num_classes"] < 1:
            raise ValueError("conditional requires classes, the data have none")
        if given["guidance"] and not (given["conditional"] and given["label_dropout"]):
            raise ValueError("guidance requires conditional=true and label_dropout above 0")
        if given["guidance"] < 0:
            raise ValueError(f"guidance {given['guidance']} must be at least 0")
