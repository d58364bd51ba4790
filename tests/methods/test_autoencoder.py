"""The baseline: it learns to copy, and nothing else."""

from __future__ import annotations

import pytest
import torch

from genlab.methods.autoencoder import Autoencoder


def test_it_learns_to_copy_better_than_the_mean_image() -> None:
    torch.manual_seed(0)
    basis = torch.rand(2, 1, 8, 8)
    images = (torch.rand(64, 2) @ basis.flatten(1) / 2).view(64, 1, 8, 8)  # two degrees of freedom
    method = Autoencoder(1, 8, 2, hidden_dims=[32], likelihood="gaussian")
    optimizer = torch.optim.Adam(method.parameters(), 1e-2)
    for _ in range(400):
        optimizer.zero_grad()
        method.training_step({"image": images}, 0)["loss"].backward()
        optimizer.step()
    error = (method.reconstruct(images) - images).square().mean()
    spread = (images - images.mean(0)).square().mean()
    assert error < 0.05 * spread


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_shapes_and_gradients(network: str, likelihood: str) -> None:
    method = Autoencoder(3, 28, 4, network, network, [8], likelihood=likelihood)
    image = torch.rand(2, 3, 28, 28)
    method.training_step({"image": image}, 0)["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())
    assert method(image).shape == (2, 4)
    assert method.reconstruct(image).shape == image.shape
    assert method.interpolate(image[:1], image[1:], 3).shape == (1, 3, 3, 28, 28)


def test_a_repeated_batch_costs_the_same() -> None:
    method, image = Autoencoder(1, 8, 2, hidden_dims=[8]), torch.rand(3, 1, 8, 8)
    once = method.training_step({"image": image}, 0)["loss"]
    torch.testing.assert_close(
        method.training_step({"image": image.repeat(4, 1, 1, 1)}, 0)["loss"], once
    )


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="latent_dim must be at least 1"):
        Autoencoder(latent_dim=0)
    with pytest.raises(ValueError, match="likelihood"):
        Autoencoder(likelihood="mse")
