"""FFJORD: a continuous flow trained by its own likelihood.

Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud 2019, arXiv:1810.01367; reference code
rtqichen/ffjord. Its path may be held straight and smooth: RNODE, Finlay, Jacobsen, Nurbekyan,
Oberman 2020, arXiv:2002.02798. Departures: gradients go back through every evaluation of the
solver, not through an adjoint equation, so that they are those of the loss; training may have a
coarser grid than the densities that are reported, and one whose times are drawn anew at every step;
energies are sums over dimensions, as in RNODE's paper, and not its code's means; no batch norm.

Images are flattened.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab.contracts import Batch
from genlab.methods._continuous import FEATURE_TIME, ContinuousFlow
from genlab.networks.denoisers.factory import denoiser
from genlab.networks.flows.dequantise import Pixels


class FFJORD(ContinuousFlow):
    """Flow by an ordinary differential equation, trained on its exact or estimated log-density.

    Time goes from 0, standard normal noise, to 1, the image.

    Args:
        channels: C of the images; D of vectors.
        image_size: H = W in pixels; 1 for vectors.
        network: ``squash``, smooth in time, or ``mlp``; see `networks.denoisers.factory`.
        preprocess: map of pixels: ``logit`` and others, and ``none`` for numbers that are not
            pixels, in `networks.flows.dequantise`.
        levels: values a pixel can have; samples are rounded to them.
        solver: solver of training and samples: ``euler``, ``midpoint``, ``heun``, ``rk4``, or
            ``dopri5``, whose evaluations grow in training; see `networks.odes`.
        solver_steps: number of steps of its grid.
        jitter: part of a step, 0 to 1, over which training draws each inner time of its grid. On
            one and the same coarse grid the loss can fall far below the data's entropy while the
            density gets worse.
        kinetic_weight: weight in the loss of the path's kinetic energy, the integral of |v|^2.
        jacobian_weight: weight in the loss of the integral of |dv/dx|^2, the Frobenius norm.
        likelihood_solver: solver of densities outside training. A finer one than training's shows
            what the coarse grid pretends.
        likelihood_steps: number of steps of its grid.
        tolerance: error of a step of ``dopri5``.
        probes: random signs for the divergence; 0 for the exact divergence, of a backward pass for
            each dimension.
        optimizer: settings of the optimiser; see `optim.build`.
        network_kwargs: settings of the network (``hidden_dims``, ``activation`` ...).

    Logs:
        train/loss, val/loss, test/loss (nats, lower): -log p(x) of dequantised pixels in units of a
            level, mean over images; in training with the weighted energies; in validation and test
            at places in the pixels' cells, and with signs, that belong to the image.
        train/kinetic (squared units of the data, lower): integral of |v|^2 along the
            path, mean over images.
        train/jacobian (per squared unit of time, lower): integral of |dv/dx|^2
            along the path, mean over images.
        train/bits_per_dim, val/bits_per_dim, test/bits_per_dim (bits, lower): -log p(x) /
            (C H W log 2), of images in levels.
        train/density_nfe, val/density_nfe, test/density_nfe (evaluations): evaluations of the
            network for each density.

    Raises:
        ValueError: an argument is unknown or out of its range.
    """

    bend = 1.0  # the grid of its training

    def __init__(
        self,
        channels: int = 1,
        image_size: int = 8,
        network: str = "squash",
        preprocess: str = "logit",
        levels: int = 256,
        solver: str = "rk4",
        solver_steps: int = 8,
        jitter: float = 0.0,
        kinetic_weight: float = 0.0,
        jacobian_weight: float = 0.0,
        likelihood_solver: str = "rk4",
        likelihood_steps: int = 20,
        tolerance: float = 1e-5,
        probes: int = 1,
        optimizer: dict[str, Any] | None = None,
        network_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self._check_solvers()
        if not 0 <= jitter <= 1:
            raise ValueError(f"jitter {jitter} must lie in [0, 1]")
        if kinetic_weight < 0 or jacobian_weight < 0:
            raise ValueError("kinetic_weight and jacobian_weight must be at least 0")
        self.shape = (channels, image_size, image_size)
        self.pixels = Pixels(preprocess, levels)
        self.velocity = denoiser(network, channels, image_size, **(network_kwargs or {}))

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, at time 0.9: (B, C, H, W) -> (B, F)."""
        x, _ = self.pixels(image, torch.full_like(image, 0.5))
        return self.velocity.features(x, x.new_full((len(x),), FEATURE_TIME))

    def velocity_at(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The network's velocity, no autocast inside: (B, C, H, W), (B,) -> (B, C, H, W)."""
        with torch.autocast(x.device.type, enabled=False):
            velocity: Tensor = self.velocity(x, t)
            return velocity

    @torch.no_grad()
    def reconstruct(self, image: Tensor) -> Tensor:
        """There and back along the flow: (B, C, H, W) -> (B, C, H, W)."""
        return self.decode(self.encode(image))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Negative log-density and its path's energies, with a gradient through the solver."""
        image, given = batch["image"], self.hparams
        draws = torch.rand_like(image), self._signs(image)
        log_p, kinetic, jacobian, _ = self._density(image, *draws, gradient=True)
        assert kinetic is not None
        assert jacobian is not None
        figures = self._likelihood(log_p, "loss")
        energy = given["kinetic_weight"] * kinetic + given["jacobian_weight"] * jacobian  # (B,)
        figures["loss"] = figures["loss"] + energy.mean()
        return figures | {"kinetic": kinetic.mean(), "jacobian": jacobian.mean()}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The same, with draws that belong to the image."""
        return self._likelihood(self._own_log_prob(batch), "loss")

    test_step = validation_step
