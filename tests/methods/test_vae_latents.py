"""VAE with other priors, posteriors, objectives and decoders: definitions and exact cases."""

from __future__ import annotations

import copy
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.methods.vae import VAE
from genlab.networks.latents.priors import MixturePrior, VampPrior

SMALL: dict[str, Any] = {
    "channels": 1, "image_size": 8, "latent_dim": 3, "hidden_dims": [16], "iwae_samples": 4,
}  # fmt: skip
LATENTS: dict[str, dict[str, Any]] = {
    "mixture": {"prior": "mixture", "prior_kwargs": {"components": 3}},
    "vamp": {"prior": "vamp", "prior_kwargs": {"components": 5}},
    "flow": {"prior": "flow", "prior_kwargs": {"hidden_dims": [8], "steps": 2}},
    "full": {"posterior": "full"},
    "iaf": {"posterior": "iaf", "posterior_kwargs": {"hidden_dims": [8], "context": 4}},
    "flow_iaf": {"prior": "flow", "posterior": "iaf"},
    "categorical": {"posterior": "categorical", "posterior_kwargs": {"categories": 4}},
    "pixelcnn": {"decoder": "pixelcnn", "decoder_kwargs": {"width": 4, "depth": 2}},
}


def images(n: int = 6) -> Tensor:
    return torch.rand(n, 1, 8, 8).round()


def moved(**options: Any) -> VAE:
    """One whose weights are those of no fresh VAE: fresh flows are the identity."""
    torch.manual_seed(0)
    method = VAE(**(SMALL | options))
    with torch.no_grad():
        for p in method.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return method


@pytest.mark.parametrize("name", LATENTS)
def test_shapes_gradients_and_state(name: str) -> None:
    method, image = moved(**LATENTS[name]), images()
    method.training_step({"image": image}, 0)["loss"].backward()
    for part, parameter in method.named_parameters():
        assert parameter.grad is not None, part
        assert parameter.grad.abs().sum() > 0, part
    method.eval()
    for found in (method.reconstruct(image), method.sample(6)):
        assert found.shape == image.shape
        assert 0 <= found.min() <= found.max() <= 1
    width = 12 if name == "categorical" else 3
    assert method(image).shape == (6, width)
    assert method.interpolate(image[:1], image[1:2], 3).shape == (1, 3, 1, 8, 8)
    again = VAE(**method.hparams)
    again.load_state_dict(copy.deepcopy(method.state_dict()))
    assert torch.equal(again(image), method(image))
    figures = method.test_step({"image": image}, 0)
    assert figures["iwae_nll"] <= figures["neg_elbo"] + 2.0
    assert method.double().sample(2).shape == (2, 1, 8, 8)  # all in one precision


@torch.no_grad()
@pytest.mark.parametrize("name", LATENTS)
def test_the_bound_is_its_definition(name: str) -> None:
    """Loss = mean of -log p(x|z) + log q(z|x) - log p(z), the KL term exact or at the draw."""
    method, image = moved(**LATENTS[name]).eval(), images()
    raw = method.encoder(image)
    noise = method.posterior.noise(raw)
    method.posterior.noise = lambda raw, k=None: noise[None]  # type: ignore[method-assign]
    method.posterior.own_noise = lambda batch: noise  # type: ignore[method-assign]
    z, log_q = method.posterior(raw, noise)
    log_p = method.prior.log_prob(z, method.encode)
    nll = method.nll(z, image)
    found = method.validation_step({"image": image}, 0)
    kl = method.posterior.kl(raw).sum(1) if method.exact_kl else log_q - log_p
    torch.testing.assert_close(found["kl"], kl.mean())
    torch.testing.assert_close(found["loss"], (nll + kl).mean())
    torch.testing.assert_close(method.iwae(image, 1), -nll + log_p - log_q)


def test_an_exact_kl_term_is_the_mean_of_the_sampled_one() -> None:
    for name in ("full", "categorical"):
        method, image = moved(**LATENTS[name]).eval(), images(3)
        with torch.no_grad():
            raw = method.encoder(image)
            z, log_q = method.posterior(raw, method.posterior.noise(raw, 4000))
            sampled = (log_q - method.prior.log_prob(z, method.encode)).mean(0)
            torch.testing.assert_close(method.posterior.kl(raw).sum(1), sampled, atol=0.05, rtol=0)


@torch.no_grad()
def test_the_prior_takes_part_everywhere() -> None:
    """A prior N(3, 1) and a posterior equal to it: no KL term, the bound log p(x|z), draws at 3."""
    method = moved(prior="mixture", prior_kwargs={"components": 1}).eval()
    assert isinstance(method.prior, MixturePrior)
    method.prior.mean.fill_(3)
    method.prior.logvar.zero_()
    last = [m for m in method.encoder.modules() if isinstance(m, torch.nn.Linear)][-1]
    last.weight.zero_()
    last.bias.copy_(torch.tensor([3.0] * 3 + [0.0] * 3))
    image = images()
    assert method.validation_step({"image": image, "index": torch.arange(6)}, 0)["kl"].abs() < 1e-5
    ratio, _ = method._log_weights(image, method.encoder(image), 5, method.encode)
    torch.testing.assert_close(ratio, torch.zeros_like(ratio), atol=1e-4, rtol=0)
    seen: list[Tensor] = []
    method.decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    method.sample(4000)
    assert (seen[0].mean(0) - 3).abs().max() < 0.08


def test_path_gradients_leave_the_pseudo_inputs_theirs() -> None:
    """Detached are the moments of q(z|x), not those of the prior's components."""
    method = moved(**LATENTS["vamp"], path_gradient=True)
    method.training_step({"image": images()}, 0)["loss"].backward()
    assert isinstance(method.prior, VampPrior)
    assert method.prior.pseudo.grad is not None
    assert method.prior.pseudo.grad.abs().sum() > 0


@torch.no_grad()
@pytest.mark.parametrize("levels", [2, 3])
def test_a_pixelcnn_is_a_distribution_of_images_given_z(levels: int) -> None:
    method = moved(image_size=2, decoder="pixelcnn", decoder_kwargs={"levels": levels, "width": 4})
    values = [v / (levels - 1) for v in range(levels)]
    every = torch.tensor(list(product(values, repeat=4))).view(-1, 1, 2, 2)
    z = torch.randn(2, 3)
    log_p = -method.eval().nll(z[:, None].expand(-1, len(every), -1), every)  # (2, images)
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(2))
    assert (log_p[0] - log_p[1]).abs().max() > 1e-3  # z is seen
    drawn = method.decode(z[:1].expand(20_000, -1))
    found = (drawn[:, None] == every).flatten(2).all(2).float().mean(0)
    assert (found - log_p[0].exp()).abs().max() < 0.017
    assert ("bits_per_dim" in method.test_step({"image": every[:4]}, 0)) == (levels > 2)


def test_total_correlation_alone_is_weighted() -> None:
    method, image = moved(objective="tc", kl_weight=6.0), images(8)
    data = SimpleNamespace(splits=lambda: {"train": range(500)})
    method._trainer = SimpleNamespace(datamodule=data, global_step=0)  # type: ignore[assignment]
    found = method.training_step({"image": image}, 0)
    parts = found["loss_mutual_information"] + 6 * found["loss_tc"] + found["loss_dim_kl"]
    torch.testing.assert_close(found["loss"], found["loss_reconstruction"] + parts)
    method._trainer = SimpleNamespace(datamodule=None, global_step=0)  # type: ignore[assignment]
    with pytest.raises(ValueError, match="objective tc requires a data module"):
        method.training_step({"image": image}, 0)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"decoder": "pixelcnn", "channels": 3}, "decoder pixelcnn requires one channel"),
    ({"decoder": "pixelcnn", "likelihood": "gaussian"}, "decoder_kwargs.levels"),
    ({"decoder": "pixelcnn", "decoder_kwargs": {"level": 3}}, "levels"),
    ({"decoder": "unet"}, "unknown decoder 'unet'; choose from mlp, conv, pixelcnn"),
    ({"prior": "vamp", "encoder": "resnet18", "image_size": 32}, "batch norm in the encoder"),
]


@pytest.mark.parametrize(("options", "words"), WRONG)
def test_wrong_arguments_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        VAE(**(SMALL | options))


@torch.no_grad()
@pytest.mark.parametrize("name", ["full", "categorical", "flow_iaf"])
def test_validation_draws_by_the_image_not_by_its_batch(name: str) -> None:
    method, image, index = moved(**LATENTS[name]).eval(), images(), torch.arange(6)
    whole = method.validation_step({"image": image, "index": index}, 0)["loss"]
    parts = [
        method.validation_step({"image": image[rows], "index": index[rows]}, 0)["loss"]
        for rows in (slice(4, 6), slice(4))
    ]
    torch.testing.assert_close((2 * parts[0] + 4 * parts[1]) / 6, whole)
    other = method.validation_step({"image": image, "index": index + 6}, 0)["loss"]
    assert (other - whole).abs() > 1e-4


def test_noise_of_images_is_that_of_training() -> None:
    """Means and variances of normal (0, 1) and of Gumbel noise (0.5772, pi^2 / 6)."""
    for name, mean, variance in (("full", 0.0, 1.0), ("categorical", 0.5772, 1.6449)):
        posterior = moved(**LATENTS[name]).posterior
        noise = posterior.own_noise({"image": images(1000), "index": torch.arange(1000)})
        assert noise.shape == posterior.noise(torch.zeros(1000, posterior.size)).shape
        assert noise.mean().item() == pytest.approx(mean, abs=0.1)
        assert noise.var().item() == pytest.approx(variance, rel=0.1)


@torch.no_grad()
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_the_kl_term_of_a_sampled_bound_is_logged_without_its_weight(weight: float) -> None:
    method, image = moved(prior="mixture", iw_samples=3, kl_weight=weight), images()
    raw = method.encoder(image)
    noise = method.posterior.noise(raw, 3)
    method.posterior.noise = lambda raw, k=None: noise  # type: ignore[method-assign]
    z, log_q = method.posterior(raw, noise)
    ratio, log_px = log_q - method.prior.log_prob(z, method.encode), -method.nll(z, image)
    found = method.training_step({"image": image}, 0)
    torch.testing.assert_close(found["loss_kl"], ratio.mean())
    bound = (log_px - weight * ratio).logsumexp(0) - torch.tensor(3.0).log()
    torch.testing.assert_close(found["loss"], -bound.mean())


@torch.no_grad()
def test_a_test_step_encodes_images_and_pseudo_inputs_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method, image, rows = moved(**LATENTS["vamp"]).eval(), images(), []
    monkeypatch.setattr("genlab.networks.latents.posteriors.ROWS", 6)  # a part for each draw
    method.encoder.register_forward_hook(lambda m, x, y: rows.append(len(y)))
    method.test_step({"image": image}, 0)
    assert sorted(rows) == [5, 6]
