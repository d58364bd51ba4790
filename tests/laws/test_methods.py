"""What must be true of every method whose loss is a mean over images, whatever its objective."""

from __future__ import annotations

import copy
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from genlab import checkpoints
from genlab.methods.autoencoder import Autoencoder
from genlab.methods.classifier import Classifier
from genlab.methods.cvae import CVAE
from genlab.methods.vae import VAE

SMALL: dict[str, Any] = {"channels": 1, "image_size": 8, "latent_dim": 3, "hidden_dims": [16]}
METHODS: dict[str, tuple[type[L.LightningModule], dict[str, Any]]] = {
    "autoencoder": (Autoencoder, SMALL),
    "autoencoder_conv": (Autoencoder, SMALL | {"encoder": "conv", "decoder": "conv"}),
    "vae": (VAE, SMALL),
    "vae_conv_free_bits": (VAE, SMALL | {"encoder": "conv", "decoder": "conv", "free_bits": 0.1}),
    "vae_iwae": (VAE, SMALL | {"iw_samples": 3}),
    "vae_logistic": (VAE, SMALL | {"likelihood": "discretized_logistic", "scale": "pixel"}),
    "vae_gaussian": (VAE, SMALL | {"likelihood": "gaussian"}),
    "cvae_standard": (CVAE, SMALL),
    "cvae_learned": (CVAE, SMALL | {"prior": "learned"}),
    "cvae_class_mean": (CVAE, SMALL | {"prior": "class_mean"}),
    "classifier": (Classifier, {"image_size": 8, "encoder_kwargs": {"width": 8}}),
}


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> L.LightningModule:
    """A fresh method whose noise belongs to the image, wherever in the batch it stands."""
    kind, options = METHODS[request.param]
    built = kind(**options)
    if hasattr(built, "reparametrize"):
        built.reparametrize = _own_noise  # type: ignore[assignment]
    return built


def _own_noise(mean: Tensor, logvar: Tensor) -> Tensor:
    return mean + (0.5 * logvar).exp() * torch.sin(10 * mean.detach())


def batch(n: int = 6) -> dict[str, Tensor]:
    image = torch.randint(0, 256, (n, 1, 8, 8)) / 255
    return {"image": image, "label": torch.arange(n) % 10, "index": torch.arange(n)}


def loss(method: Any, data: dict[str, Tensor]) -> Tensor:
    return method.training_step(data, 0)["loss"]


def rows(data: dict[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    return {name: value[index] for name, value in data.items()}


def test_order_of_the_batch_does_not_matter(method: L.LightningModule) -> None:
    data = batch()
    torch.testing.assert_close(loss(method, rows(data, torch.randperm(6))), loss(method, data))


def test_a_repeated_batch_costs_the_same(method: L.LightningModule) -> None:
    data = batch()
    repeated = rows(data, torch.arange(6).repeat(3))
    torch.testing.assert_close(loss(method, repeated), loss(method, data))


def test_the_position_in_the_data_set_does_not_matter(method: L.LightningModule) -> None:
    data = batch()
    moved = data | {"index": data["index"] + 1000}
    assert torch.equal(loss(method, moved), loss(method, data))


def test_every_trained_parameter_gets_a_finite_gradient(method: L.LightningModule) -> None:
    loss(method, batch(20)).backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_everything_in_the_step_is_a_finite_scalar(method: Any) -> None:
    for name, value in method.training_step(batch(), 0).items():
        assert value.shape == (), name
        assert value.isfinite(), name


def test_autocast_changes_the_loss_by_a_rounding_only(method: L.LightningModule) -> None:
    """Exponents and logarithms stay in float32: bf16 layers give nearly the same number."""
    data = batch()
    plain = loss(method, data)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = loss(method, data)
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(plain.item(), rel=0.05)


@pytest.mark.parametrize("name", METHODS)
def test_its_plain_description_builds_it_again(name: str) -> None:
    kind, options = METHODS[name]
    method = kind(**options).eval()
    again = checkpoints.build(copy.deepcopy(checkpoints.spec(method))).eval()
    again.load_state_dict(method.state_dict())
    image = batch()["image"]
    assert type(again) is kind
    assert torch.equal(again(image), method(image))
