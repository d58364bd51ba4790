"""What must be true of a VAE, whatever the code looks like."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch

from genlab import losses
from genlab.contracts import Batch
from genlab.methods.vae import VAE

SMALL: dict[str, Any] = {"channels": 1, "image_size": 8, "latent_dim": 3, "hidden_dims": [16]}


def batch(n: int = 6, channels: int = 1, size: int = 8) -> Batch:
    return {"image": torch.rand(n, channels, size, size).round(decimals=1)}


def given(noise: torch.Tensor, **options: Any) -> VAE:
    """A VAE whose noise is given."""
    method = VAE(**(SMALL | options))
    method.posterior.noise = lambda raw, k=None: noise  # type: ignore[method-assign]
    return method


@pytest.mark.parametrize("size", [8, 28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_shapes_for_every_size(size: int, channels: int, network: str) -> None:
    method = VAE(channels, size, 5, network, network, [12])
    image = torch.rand(2, channels, size, size)
    assert method(image).shape == (2, 5)
    for images in (method.reconstruct(image), method.sample(2)):
        assert images.shape == image.shape
        assert images.min() >= 0
        assert images.max() <= 1
    assert method.interpolate(image[:1], image[1:], 4).shape == (1, 4, channels, size, size)


def test_an_encoder_from_timm() -> None:
    method = VAE(3, 32, 4, encoder="resnet18", decoder="conv", hidden_dims=[8])
    assert method(torch.rand(2, 3, 32, 32)).shape == (2, 4)


@pytest.mark.parametrize("likelihood", losses.LIKELIHOODS)
@pytest.mark.parametrize("scale", [0.5, "shared", "pixel"])
@pytest.mark.parametrize(
    "options", [{}, {"iw_samples": 4}, {"path_gradient": True}, {"free_bits": 0.2}]
)
def test_every_parameter_gets_a_gradient(
    likelihood: str, scale: Any, options: dict[str, Any]
) -> None:
    method = VAE(**SMALL, likelihood=likelihood, scale=scale, **options)
    method.training_step(batch(), 0)["loss"].backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@torch.no_grad()
def test_the_loss_is_the_definition() -> None:
    torch.manual_seed(3)
    noise = torch.randn(6, 3)
    method, data = given(noise, kl_weight=0.7), batch()
    out = method.training_step(data, 0)
    total = 0.0
    for image, eps in zip(data["image"], noise, strict=True):
        mean, logvar = (t[0] for t in method.encode(image[None]))
        z = mean + (0.5 * logvar).exp() * eps
        p = method.decoder(z[None]).sigmoid()[0]
        x = image
        nll = -(x * p.log() + (1 - x) * (1 - p).log()).sum()
        kl = sum(
            0.5 * (m * m + math.exp(v) - 1 - v)
            for m, v in zip(mean.tolist(), logvar.tolist(), strict=True)
        )
        total += float(nll) + 0.7 * kl
    assert out["loss"].item() == pytest.approx(total / 6, rel=1e-5)
    parts = out["loss_reconstruction"] + 0.7 * out["loss_kl"]
    assert out["loss"].item() == pytest.approx(parts.item(), rel=1e-6)


def test_warmup_follows_optimiser_steps() -> None:
    method = VAE(**SMALL, kl_weight=2.0, kl_warmup_steps=10)
    steps = iter((0, 5, 10, 99))
    trainer = type("T", (), {"global_step": property(lambda _: next(steps))})()
    method._trainer = trainer
    assert [method.beta() for _ in range(4)] == [0.0, 1.0, 2.0, 2.0]


def test_one_importance_sample_is_the_elbo_in_expectation() -> None:
    """K = 1 with the sampled KL equals the closed form, averaged over noise."""
    torch.manual_seed(0)
    method, data = VAE(**SMALL), batch(4)
    with torch.no_grad():
        raw = method.encoder(data["image"])
        sampled = torch.stack(
            [method._sampled_bound(data["image"], raw, 1)["loss"] for _ in range(2000)]
        )
        closed = torch.stack([method.training_step(data, 0)["loss"] for _ in range(2000)])
    assert sampled.mean().item() == pytest.approx(closed.mean().item(), abs=0.05)


def test_path_gradient_changes_the_gradient_not_the_value_and_agrees_on_average() -> None:
    torch.manual_seed(0)
    plain, path = VAE(**SMALL, iw_samples=1), VAE(**SMALL, path_gradient=True)
    path.load_state_dict(plain.state_dict())
    data, grads = batch(4), []
    for method in (plain, path):
        torch.manual_seed(1)
        for _ in range(600):
            method.training_step(data, 0)["loss"].backward()
        weight = next(method.encoder.parameters())
        assert weight.grad is not None
        grads.append(weight.grad / 600)
    assert (
        torch.nn.functional.cosine_similarity(grads[0].flatten(), grads[1].flatten(), dim=0) > 0.99
    )
    assert not torch.equal(*grads)


def test_iwae_decodes_k_rows_for_each_image_in_bounded_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method, rows = VAE(**SMALL), []
    monkeypatch.setattr("genlab.networks.latents.posteriors.ROWS", 64)
    method.decoder.register_forward_hook(lambda m, x, y: rows.append(len(y)))
    with torch.no_grad():
        assert method.iwae(batch()["image"], 100).shape == (6,)
    assert sum(rows) == 600
    assert max(rows) <= 64


def test_iwae_rises_with_k() -> None:
    torch.manual_seed(0)
    method, image = VAE(**SMALL), batch(64)["image"]
    with torch.no_grad():
        bounds = [method.iwae(image, k).mean().item() for k in (1, 10, 200)]
    assert bounds == sorted(bounds)


def test_the_state_reloads_to_equal_outputs() -> None:
    method = VAE(**SMALL, likelihood="gaussian")
    again = VAE(**method.hparams)
    again.load_state_dict(copy.deepcopy(method.state_dict()))
    image = batch()["image"]
    assert torch.equal(method.reconstruct(image), again.reconstruct(image))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"latent_dim": 0}, "latent_dim must be at least 1, got 0"),
    ({"likelihood": "bernouli"}, "bernoulli"),
    ({"scale": "wide"}, "shared"),
    ({"kl_weight": -1}, "kl_weight"),
    ({"decoder": "resnet18"}, "conv"),
    ({"encoder": "resnt18"}, "resnet18"),
    ({"activation": "rellu"}, "relu"),
    ({"iw_samples": 0}, "iw_samples"),
    ({"free_bits": 1.0, "iw_samples": 2}, "free_bits"),
]


@pytest.mark.parametrize(("options", "word"), WRONG)
def test_wrong_arguments_are_named(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        VAE(**(SMALL | options))
