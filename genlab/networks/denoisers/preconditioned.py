"""EDM's preconditioning: a denoiser made of a network whose inputs and targets have unit variance.

Karras, Aittala, Aila, Laine 2022, arXiv:2206.00364, section 5.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def preconditioning(level: Tensor, sigma_data: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Factors c_skip, c_out, c_in and the network's c_noise at levels s: (B,) -> 4 x (B,).

    Args:
        level: standard deviations of the noise.
        sigma_data: standard deviation of the data's numbers.
    """
    total = level**2 + sigma_data**2
    skip, out = sigma_data**2 / total, level * sigma_data * total.rsqrt()
    return skip, out, total.rsqrt(), level.log() / 4


class Preconditioned(nn.Module):
    """The denoiser D(x, s) = c_skip x + c_out F(c_in x, c_noise): the clean image's mean.

    The network F sees the noise only as c_noise = log(s) / 4.

    Args:
        network: F, of images (B, C, H, W), times (B,) and classes (B,); see `factory`.
        sigma_data: standard deviation of the data's numbers.
        bounds: levels beyond which F sees the nearer of the two.

    Raises:
        ValueError: sigma_data is not above 0.
    """

    def __init__(self, network: nn.Module, sigma_data: float, bounds: tuple[float, float]) -> None:
        super().__init__()
        if sigma_data <= 0:
            raise ValueError(f"sigma_data {sigma_data} must be above 0")
        self.network, self.sigma_data, self.bounds = network, sigma_data, bounds

    def forward(self, x: Tensor, level: Tensor, label: Tensor | None = None) -> Tensor:
        """The image's mean given its noisy form x = y + s n: (B, C, H, W), (B,), (B,) -> as x."""
        skip, out, scale, noise = preconditioning(level, self.sigma_data)
        seen: Tensor = self.network(_rows(scale, x) * x, noise, label)
        return _rows(skip, x) * x + _rows(out, x) * seen.to(x.dtype)

    def velocity(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Velocity of the probability flow along t y + (1 - t) n: (B, C, H, W), (B,), (B,) -> as x.

        The level is (1 - t) / t. This is (D - x) / (1 - t), written so that it is finite from
        t = 0, the noise, to t = 1, the image.
        """
        data, q = self.sigma_data, self._spread(t)
        drift = (data**2 * t - (1 - t)) / q**2
        seen: Tensor = self.network(x / _rows(q, x), self._time(t), label)
        return _rows(drift, x) * x + _rows(data / q, x) * seen.to(x.dtype)

    def features(self, x: Tensor, t: Tensor) -> Tensor:
        """The network's features at time t of the same path: (B, C, H, W), (B,) -> (B, F)."""
        network: Any = self.network
        features: Tensor = network.features(x / _rows(self._spread(t), x), self._time(t))
        return features

    def _spread(self, t: Tensor) -> Tensor:
        """Standard deviation of t y + (1 - t) n: (B,) -> (B,)."""
        return ((1 - t) ** 2 + (self.sigma_data * t) ** 2).sqrt()

    def _time(self, t: Tensor) -> Tensor:
        """The network's c_noise at time t: (B,) -> (B,)."""
        low, high = self.bounds
        return ((1 - t) / t.clamp(min=1e-12)).clamp(low, high).log() / 4


def _rows(value: Tensor, x: Tensor) -> Tensor:
    return value.view(-1, *[1] * (x.dim() - 1))
