"""Both methods that go by the name CVAE."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genlab.contracts import Batch
from genlab.methods.cvae import CVAE, PRIORS

SMALL: dict[str, Any] = {"num_classes": 4, "image_size": 8, "latent_dim": 3, "hidden_dims": [16]}


def batch(n: int = 8) -> Batch:
    return {"image": torch.rand(n, 1, 8, 8), "label": torch.arange(n) % 4}


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_verbs_and_gradients(prior: str, network: str) -> None:
    method = CVAE(**SMALL, prior=prior, encoder=network, decoder=network)
    data = batch()
    method.training_step(data, 0)["loss"].backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert method(data["image"]).shape == (8, 3)
    assert method.reconstruct(data["image"], data["label"]).shape == (8, 1, 8, 8)
    assert method.sample(6).shape == (6, 1, 8, 8)
    assert method.swap_styles(data["image"], data["label"]).shape == (8, 4, 1, 8, 8)
    paths = method.interpolate(data["image"][:2], data["image"][2:4], 5, data["label"][:2])
    assert paths.shape == (2, 5, 1, 8, 8)


@pytest.mark.parametrize("prior", PRIORS)
def test_a_style_swapped_into_its_own_class_is_the_reconstruction(prior: str) -> None:
    method, data = CVAE(**SMALL, prior=prior), batch()
    swapped = method.swap_styles(data["image"], data["label"])
    own = swapped[torch.arange(8), data["label"]]
    torch.testing.assert_close(own, method.reconstruct(data["image"], data["label"]))
    assert not torch.allclose(swapped[:, 0], swapped[:, 1])


@pytest.mark.parametrize("prior", PRIORS)
def test_the_class_decides_the_sample(prior: str) -> None:
    method = CVAE(**SMALL, prior=prior)
    pictures = []
    for k in (0, 1):
        torch.manual_seed(0)
        pictures.append(method.sample(3, torch.full((3,), k)))
    assert (not torch.allclose(pictures[0], pictures[1])) == (
        prior != "standard" or method.sees_label
    )


def test_class_mean_samples_around_the_class_mean_and_its_networks_do_not_see_the_label() -> None:
    method = CVAE(**SMALL, prior="class_mean")
    data = batch()
    other = (data["label"] + 1) % 4
    torch.testing.assert_close(
        method.encode(data["image"], other)[0], method.encode(data["image"], data["label"])[0]
    )
    assert method.prior_mean is not None
    cold = method.sample(4, torch.arange(4), temperature=0.0)
    torch.testing.assert_close(cold, method.decode(method.prior_mean.weight, torch.arange(4)))


def test_class_mean_kl_is_the_notes_formula() -> None:
    """-.5 sum(1 + lv - (mu - m_y)^2 - e^lv)."""
    method, data = CVAE(**SMALL, prior="class_mean"), batch()
    mean, logvar = method.encode(data["image"], None)
    assert method.prior_mean is not None
    target = method.prior_mean(data["label"])
    slow = -0.5 * (1 + logvar - (mean - target) ** 2 - logvar.exp()).sum(1).mean()
    torch.testing.assert_close(method.training_step(data, 0)["loss_kl"], slow)


def test_labels_matter_and_unknown_ones_are_refused() -> None:
    method, data = CVAE(**SMALL), batch()
    with pytest.raises(ValueError, match="label"):
        method.training_step(data | {"label": torch.full((8,), -1)}, 0)
    with pytest.raises(ValueError, match="label"):
        method.encode(data["image"], None)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"latent_dim": 0}, "latent_dim"),
        ({"num_classes": 0}, "num_classes"),
        ({"prior": "x"}, "class_mean"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        CVAE(**(SMALL | options))
