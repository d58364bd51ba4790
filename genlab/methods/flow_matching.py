"""Flow matching: a network learns the velocity of paths from noise to images.

Lipman, Chen, Ben-Hamu, Nickel, Le 2022, arXiv:2210.02747; rectified flow: Liu, Gong, Liu 2022,
arXiv:2209.03003; pairs by optimal transport: Tong et al. 2023, arXiv:2302.00482; guidance: Ho &
Salimans 2022, arXiv:2207.12598; features of a denoiser: Xiang et al. 2023, arXiv:2303.09769.
Departures: the loss is a sum over dimensions, not their mean; pixels are spread over their cells in
training too, so that the density is one of images in levels; with classes, optimal transport pairs
within a class.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab import distributed, losses, networks
from genlab.augment.draws import rows_of_this_rank
from genlab.contracts import Batch
from genlab.methods._continuous import FEATURE_TIME, ContinuousFlow
from genlab.networks.denoisers.factory import denoiser

PAIRINGS = ("independent", "transport")


class FlowMatching(ContinuousFlow):
    """Generator by an ordinary differential equation whose velocity is learnt by regression.

    Time goes from 0, standard normal noise, to 1, the image. Samples, features, validation and
    densities are those of the average of the weights.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        num_classes: K of the data.
        network: ``unet`` or ``dit``, ``mlp`` for points; see `networks.denoisers.factory`.
        path: ``straight`` (optimal transport's line) or ``variance_preserving``.
        pairing: pairs of noise and images: ``independent``, or the cheapest assignment in the
            global batch, ``transport``, found on the CPU in time of its third power.
        conditional: True for a velocity that knows the class.
        label_dropout: fraction of labels hidden in training, image by image, if ``conditional``.
        guidance: weight w of v(class) + w (v(class) - v(no class)) in sampling; 0 for none.
        preprocess: map of pixels: ``symmetric``, to [-1, 1); others and ``none``, for numbers that
            are not pixels, in `networks.flows.dequantise`.
        levels: values a pixel can have; samples are rounded to them.
        space: run or checkpoint of a VAE or VQ-VAE whose latents, standardised, take the place of
            pixels; read once, when a new method is made.
        space_spec: instead, its description (class and arguments); its weights then come with the
            checkpoint. Filled in when the hyper-parameters are saved.
        ema_decay: decay of the average of the weights.
        solver: ``euler``, ``midpoint``, ``heun``, ``rk4`` or ``dopri5`` for samples; see
            `networks.odes`.
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
        train/loss (squared distance, lower): ||v(x_t, t) - u||^2, summed over dimensions, mean over
            images; u is the velocity of the path at x_t, t uniform in [0, 1].
        val/loss, test/loss (squared distance, lower): the same of the averaged weights on
            independent pairs, with labels, at a noise and a time that belong to the image.

    Raises:
        ValueError: an argument is unknown or out of its range.
    """

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
        space: str | None = None,
        space_spec: dict[str, Any] | None = None,
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
        self.loss_of_batch = pairing == "transport"  # accumulation does not enlarge it
        self.num_classes = num_classes if conditional else 0
        self.pixels, self.shape = self._numbers()
        self.velocity = denoiser(
            network, *self.shape[:2], self.num_classes, **(network_kwargs or {})
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

    def velocity_at(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The averaged network's velocity: (B, C, H, W), (B,), (B,) -> (B, C, H, W)."""
        velocity: Tensor = self.velocity_ema.average(x, t, label)
        return velocity

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Squared error of the velocity at a random time of every path, mean over the batch."""
        image, label = batch["image"], self._label(batch)  # (B, C, H, W), (B,)
        data, _ = self.pixels(image, torch.rand_like(image))
        noise = self.pair(torch.randn_like(data), data, label)
        t = torch.rand(len(data), device=data.device, dtype=data.dtype)
        x, target = losses.path_point(self.hparams["path"], noise, data, t)
        velocity = self.velocity(x, t, self._hidden(label))
        return {"loss": losses.velocity_error(velocity, target).mean()}

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
        velocity = self.velocity_at(x, t, self._label(batch))
        return {"loss": losses.velocity_error(velocity, target).mean()}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The average moves once per optimiser step, whatever the gradient accumulation."""
        super().optimizer_step(*args, **kwargs)
        self.velocity_ema.update(self.velocity, self.global_step + 1)

    def _check_arguments(self) -> None:
        given = self.hparams
        for name, known in (("path", losses.PATHS), ("pairing", PAIRINGS)):
            if given[name] not in known:
                raise ValueError(f"unknown {name} {given[name]!r}; choose from {', '.join(known)}")
        self._check_solvers()
        self._check_classes()
