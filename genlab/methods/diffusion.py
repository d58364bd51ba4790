"""Diffusion: a network learns to remove noise of every level; samples begin with noise alone.

Karras, Aittala, Aila, Laine 2022 (EDM: preconditioning, levels, Heun's sampler), arXiv:2206.00364;
Ho, Jain, Abbeel 2020 (DDPM: levels, loss, ancestral steps), arXiv:2006.11239; probability flow and
its density: Song et al. 2021, arXiv:2011.13456; guidance: Ho & Salimans 2022, arXiv:2207.12598.
Departures: pixels are spread over their cells in training too, so that the density is one of images
in levels; every schedule has EDM's preconditioning, where DDPM's network predicts the noise; no
stochastic steps between EDM's, no augmentation; the density begins at infinite noise and not at
EDM's largest level, beyond the bounds of which the network sees the nearer one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab import losses, networks
from genlab.contracts import Batch
from genlab.methods._continuous import FEATURE_TIME, ContinuousFlow
from genlab.networks.denoisers import samplers
from genlab.networks.denoisers.factory import denoiser
from genlab.networks.denoisers.noise_levels import NoiseLevels
from genlab.networks.denoisers.preconditioned import Preconditioned


class Diffusion(ContinuousFlow):
    """Generator that removes noise step by step.

    Samples, features, validation and densities are those of the average of the weights. Latents,
    densities and interpolations follow the probability flow, from 0, the noise, to 1, the image.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        num_classes: K of the data.
        network: ``unet`` or ``dit``, ``mlp`` for points; see `networks.denoisers.factory`.
        schedule: levels of noise, the weights of their errors and the sampler's grid: ``edm``, or
            DDPM's ``linear`` or ``cosine``; see `networks.denoisers.noise_levels`.
        sampler: ``heun``, ``ddim`` or ``ancestral``; see `networks.denoisers.samplers`.
        sampler_steps: levels that it visits.
        sigma_data: standard deviation of the data's numbers, of pixels after ``preprocess``.
        sigma_log_mean: mean of the log of training's levels of noise; None for -1.2. For ``edm``
            only.
        sigma_log_spread: standard deviation of that log; None for 1.2. For ``edm`` only.
        conditional: True for a denoiser that knows the class.
        label_dropout: fraction of labels hidden in training, image by image, if ``conditional``.
        guidance: weight w of D(class) + w (D(class) - D(no class)) in sampling; 0 for none.
        preprocess: map of pixels: ``symmetric``, to [-1, 1); others and ``none``, for numbers that
            are not pixels, in `networks.flows.dequantise`.
        levels: values a pixel can have; samples are rounded to them.
        space: run or checkpoint of a VAE or VQ-VAE whose latents, standardised, take the place of
            pixels; read once, when a new method is made.
        space_spec: instead, its description (class and arguments); its weights then come with the
            checkpoint. Filled in when the hyper-parameters are saved.
        ema_decay: decay of the average of the weights.
        solver: solver of the probability flow for latents and their images; see `networks.odes`.
        solver_steps: number of steps of its grid.
        likelihood_solver: solver for densities; Euler's are wrong, to either side.
        likelihood_steps: number of steps of its grid, the k-th at 1 - (k / steps)^3 because narrow
            densities form near the image.
        tolerance: error of a step of ``dopri5``.
        probes: random signs for a density's divergence; 0 for the exact divergence.
        test_likelihood: True to measure the density of every test image, by
            solver evaluations with a backward pass for each probe or dimension.
        optimizer: settings of the optimiser; see `optim.build`.
        network_kwargs: settings of the network (``width``, ``multipliers`` ...).

    Logs:
        train/loss (squared error, lower): w(s) ||D(y + s n, s) - y||^2, summed over dimensions,
            mean over images; level s of the schedule, w = 1 / s^2, for ``edm`` plus
            1 / sigma_data^2.
        val/loss, test/loss (squared error, lower): the same of the averaged weights, with labels,
            at a noise and a level that belong to the image.

    Raises:
        ValueError: an argument is unknown or out of its range.
    """

    def __init__(
        self,
        channels: int = 1,
        image_size: int = 28,
        num_classes: int = 10,
        network: str = "unet",
        schedule: str = "edm",
        sampler: str = "heun",
        sampler_steps: int = 18,
        sigma_data: float = 0.5,
        sigma_log_mean: float | None = None,
        sigma_log_spread: float | None = None,
        conditional: bool = False,
        label_dropout: float = 0.1,
        guidance: float = 0.0,
        preprocess: str = "symmetric",
        levels: int = 256,
        space: str | None = None,
        space_spec: dict[str, Any] | None = None,
        ema_decay: float = 0.999,
        solver: str = "rk4",
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
        self._check_solvers()
        self._check_classes()
        samplers.check_sampler(sampler)
        self.num_classes = num_classes if conditional else 0
        self.pixels, self.shape = self._numbers()
        self.noise_levels = NoiseLevels(schedule, sigma_log_mean, sigma_log_spread)
        self.noise_levels.grid(sampler_steps)  # refuses what it cannot be
        inner = denoiser(network, *self.shape[:2], self.num_classes, **(network_kwargs or {}))
        self.denoiser = Preconditioned(inner, sigma_data, self.noise_levels.bounds)
        self.denoiser_ema = networks.EMA(self.denoiser, ema_decay)

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, at time 0.9, without noise: (B, C, H, W) -> (B, F)."""
        x, _ = self.pixels(image, torch.full_like(image, 0.5))
        t = x.new_full((len(x),), FEATURE_TIME)
        features: Tensor = self._average.features(FEATURE_TIME * x, t)
        return features

    def velocity_at(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The averaged denoiser's probability flow: (B, C, H, W), (B,), (B,) -> as x."""
        velocity: Tensor = self._average.velocity(x, t, label)
        return velocity

    @torch.no_grad()
    def sample(self, n: int, label: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draw noise, its spread times ``temperature``, and remove it: (n, C, H, W).

        The classes are ``label`` (n,), -1 for none, by default all in turn if there are any.
        """
        z = (temperature * self._noise(n)).unflatten(1, self.shape)
        clean, each = self._guided(self._average, self._wanted(n, label))
        grid = self.noise_levels.grid(self.hparams["sampler_steps"])
        x, evaluations = samplers.denoise(clean, grid[0] * z, grid, self.hparams["sampler"])
        self.nfe = each * evaluations
        return self.pixels.inverse(x)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Weighted squared error of the clean image at a random level, mean over the batch."""
        image, label = batch["image"], self._label(batch)  # (B, C, H, W), (B,)
        data, _ = self.pixels(image, torch.rand_like(image))
        level = self.noise_levels.at(torch.rand(len(data), device=data.device, dtype=data.dtype))
        noise = torch.randn_like(data)
        return {"loss": self._error(self.denoiser, data, noise, level, self._hidden(label))}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The same error of the averaged denoiser, at each image's own noise and level."""
        drawn = self._drawn(batch)
        data, _ = self.pixels(batch["image"], drawn["cell"])
        level, noise = self.noise_levels.at(drawn["t"].to(data.dtype)), drawn["noise"].to(data)
        return {"loss": self._error(self._average, data, noise, level, self._label(batch))}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The average moves once per optimiser step, whatever the gradient accumulation."""
        super().optimizer_step(*args, **kwargs)
        self.denoiser_ema.update(self.denoiser, self.global_step + 1)

    def _error(
        self, denoise: Any, data: Tensor, noise: Tensor, level: Tensor, label: Tensor | None
    ) -> Tensor:
        """Mean of w(s) ||D(y + s n, s) - y||^2: scalar."""
        clean = denoise(data + level.view(-1, 1, 1, 1) * noise, level, label)
        weight = self.noise_levels.weight(level, self.hparams["sigma_data"])
        return (weight * losses.velocity_error(clean, data)).mean()

    @property
    def _average(self) -> Any:
        """The averaged denoiser."""
        return self.denoiser_ema.average
