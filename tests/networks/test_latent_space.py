"""Latents of a frozen autoencoder: there and back, standardised, never trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from genlab.methods.classifier import Classifier
from genlab.methods.vae import VAE
from genlab.methods.vqvae import VQVAE
from genlab.networks.latent_space import LatentSpace
from tests.methods.test_vq_prior import VQ

DENSE: dict[str, Any] = {"image_size": 8, "hidden_dims": [16], "latent_dim": 3}


def spaces() -> dict[str, LatentSpace]:
    torch.manual_seed(0)
    found = {"vae": VAE(**DENSE), "vqvae": VQVAE(**VQ)}
    return {name: LatentSpace(one, 1, 8) for name, one in found.items()}


@pytest.mark.parametrize(("name", "shape"), [("vae", (3, 1, 1)), ("vqvae", (4, 4, 4))])
def test_latents_go_to_the_reconstructions(name: str, shape: tuple[int, ...]) -> None:
    space, image = spaces()[name], torch.rand(5, 1, 8, 8)
    method: Any = space.autoencoder
    for fitted in (False, True):
        z, log_det = space(image, torch.rand_like(image))
        assert space.shape == z.shape[1:] == shape
        assert torch.equal(log_det, torch.zeros(5))
        torch.testing.assert_close(space.inverse(z), method.reconstruct(image))
        if not fitted:
            space.fit([image[:2], image[2:]])


@pytest.mark.parametrize("name", ["vae", "vqvae"])
def test_fitted_latents_have_mean_0_and_deviation_1(name: str) -> None:
    space, image = spaces()[name], torch.rand(50, 1, 8, 8)
    space.fit(image.split(20))
    z, _ = space(image, image)
    channels = z.movedim(1, 0).flatten(1)
    torch.testing.assert_close(channels.mean(1), torch.zeros(len(channels)), rtol=0, atol=1e-4)
    torch.testing.assert_close(channels.std(1, correction=0), torch.ones(len(channels)))
    assert space.fitted


def test_it_is_frozen_and_part_of_the_state() -> None:
    first, second = spaces()["vae"], spaces()["vae"]
    first.train().fit([torch.rand(9, 1, 8, 8)])
    assert not any(part.training for part in first.modules())
    assert not any(p.requires_grad for p in first.parameters())
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.mean, first.mean)
    assert second.fitted


def test_a_channel_that_says_nothing_stays_finite() -> None:
    space = spaces()["vae"]
    space.fit([torch.zeros(4, 1, 8, 8)])
    z, _ = space(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8))
    assert z.isfinite().all()


@pytest.mark.parametrize(
    "method",
    [Classifier(encoder="lenet", image_size=28), VAE(**DENSE | {"image_size": 9}), nn.Linear(8, 8)],
    ids=lambda one: type(one).__name__,
)
def test_what_is_no_autoencoder_of_the_images_is_refused(method: nn.Module) -> None:
    with pytest.raises(ValueError, match="space requires an autoencoder of these images"):
        LatentSpace(method, 1, 8)


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="space requires training images"):
        spaces()["vae"].fit([])
