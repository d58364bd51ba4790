"""Paths through latent space: lines, arcs, and between draws of noise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlab.evaluation import interpolations
from genlab.methods.cvae import CVAE
from genlab.methods.vae import VAE


class Noise:
    """A generator without an encoder: its images are its noise."""

    num_classes = 0

    def noise(self, n: int) -> Tensor:
        return torch.randn(n, 16)

    def decode(self, z: Tensor) -> Tensor:
        return z.view(-1, 1, 4, 4)

    def sample(self, n: int) -> Tensor:
        return self.decode(self.noise(n))


class NoiseOfClass(Noise):
    """As `Noise`, brighter by its class."""

    num_classes = 10

    def decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        assert label is not None
        return super().decode(z) + 100 * label.view(-1, 1, 1, 1)

    def sample(self, n: int, label: Tensor | None = None) -> Tensor:
        return self.decode(self.noise(n), label)


IMAGES, LABEL = torch.rand(4, 1, 8, 8), torch.tensor([3, 1, 7, 0])


@pytest.mark.parametrize("kind", [VAE, CVAE])
def test_lines_and_arcs_share_their_ends_alone(kind: type) -> None:
    method = kind(image_size=8, latent_dim=4).eval()
    line, arc, usual = (
        interpolations(method, IMAGES, LABEL, 5, spherical).view(2, 5, -1)
        for spherical in (False, True, None)
    )
    assert torch.equal(line, usual)
    torch.testing.assert_close(line[:, ::4], arc[:, ::4], atol=1e-5, rtol=0)
    assert not torch.allclose(line[:, 2], arc[:, 2], atol=1e-6)


def test_a_generator_goes_from_noise_to_noise() -> None:
    paths = interpolations(Noise(), IMAGES, LABEL, 5).view(2, 5, 16)
    again = interpolations(Noise(), IMAGES, LABEL, 5, seed=1).view(2, 5, 16)
    assert not torch.equal(paths, again)
    lengths = paths.norm(dim=2)
    middle = (lengths[:, 0] + lengths[:, -1]) / 2
    torch.testing.assert_close(lengths[:, 2], middle)  # an arc keeps its distance
    line = interpolations(Noise(), IMAGES, LABEL, 5, spherical=False).view(2, 5, 16)
    torch.testing.assert_close(line[:, 2], (line[:, 0] + line[:, -1]) / 2)


def test_a_path_stays_in_the_class_of_its_start() -> None:
    paths = interpolations(NoiseOfClass(), IMAGES, LABEL, 3).view(2, 3, 16)
    torch.testing.assert_close((paths.mean(2) / 100).round(), torch.tensor([[3.0] * 3, [7.0] * 3]))


def test_what_has_no_choice_or_no_latent_space_says_so() -> None:
    class Own:
        def interpolate(self, start: Tensor, end: Tensor, steps: int) -> Tensor:
            return start[:, None].expand(-1, steps, -1, -1, -1)

    assert interpolations(Own(), IMAGES, LABEL, 3).shape == (6, 1, 8, 8)
    with pytest.raises(ValueError, match="Own interpolates in its own way; without --path"):
        interpolations(Own(), IMAGES, LABEL, 3, spherical=True)
    with pytest.raises(ValueError, match="cannot interpolate"):
        interpolations(object(), IMAGES, LABEL, 3)
    with pytest.raises(ValueError, match="at least 2"):
        interpolations(Own(), IMAGES, LABEL, 1)
