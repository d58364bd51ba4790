"""NICE: volumes are kept but for one scaling; even and odd pixels take turns."""

from __future__ import annotations

import math

import pytest
import torch

from genlab.methods.nice import NICE
from tests.methods.programs_flows import batch, moved, own_noise, small


def test_only_the_last_scaling_changes_volumes() -> None:
    method = moved("nice").double().eval()
    method.cell_noise = own_noise
    image = batch(method)["image"].double()
    y, constant = method.flow.pixels(image, own_noise(image))
    z, log_det = method.flow.layers(y)
    scaling = method.flow.layers.layers[-1].log_scale.sum()
    torch.testing.assert_close(log_det, scaling.expand(8))
    logistic = -z - 2 * torch.nn.functional.softplus(-z)
    assert constant[0].item() == pytest.approx(-64 * math.log(256))
    expected = logistic.sum(1) + scaling + constant
    torch.testing.assert_close(method.log_prob(image), expected)


def test_after_three_couplings_every_latent_depends_on_every_pixel() -> None:
    for couplings, share in ((1, 0.6), (3, 1.0)):
        method = moved("nice", couplings=couplings, activation="tanh").double().eval()
        image = torch.rand(1, 1, 8, 8, dtype=torch.float64)

        def latents(x: torch.Tensor, method: NICE = method) -> torch.Tensor:
            z: torch.Tensor = method.flow.layers(x)[0][0]
            return z

        jacobian = torch.autograd.functional.jacobian(latents, image).view(64, 64)
        found = (jacobian != 0).double().mean().item()
        assert found == 1.0 if share == 1.0 else found < share


def test_it_starts_with_the_even_pixels() -> None:
    method = small("nice")
    order = method.flow.layers.layers[1].order
    assert order[:4].tolist() == [0, 2, 4, 6]
    assert order[32:36].tolist() == [1, 3, 5, 7]


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="couplings 0"):
        NICE(1, 8, couplings=0)
    with pytest.raises(ValueError, match="unknown latents 'cauchy'; choose from normal, logistic"):
        NICE(1, 8, hidden_dims=[4], latents="cauchy")
    with pytest.raises(ValueError, match="unknown preprocess 'bytes'; choose from "):
        NICE(1, 8, hidden_dims=[4], preprocess="bytes")
