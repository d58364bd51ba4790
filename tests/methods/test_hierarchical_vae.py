"""Hierarchical VAE: its bound by torch's densities, levels that add nothing, free bits."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from genlab.contracts import DecodesNoise
from genlab.losses import kl_standard_normal
from genlab.methods.hierarchical_vae import HierarchicalVAE

SMALL: dict[str, Any] = {
    "channels": 1, "image_size": 8, "latent_dims": [2, 3], "hidden_dims": [16], "features": 5,
    "level_dims": [6], "iwae_samples": 4,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "two": {},
    "three": {"latent_dims": [2, 3, 4]},
    "ladder": {"form": "ladder"},
    "residual": {"form": "residual", "latent_dims": [2, 3, 4]},
    "vamp": {"prior": "vamp", "prior_kwargs": {"components": 4}},
    "flow": {"prior": "flow", "prior_kwargs": {"hidden_dims": [6], "steps": 2}},
    "pixelcnn": {"decoder": "pixelcnn", "decoder_kwargs": {"width": 4, "depth": 2}},
}


def made(**options: Any) -> HierarchicalVAE:
    torch.manual_seed(0)
    method = HierarchicalVAE(**(SMALL | options))
    with torch.no_grad():
        for p in method.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return method


def images(n: int = 6) -> Tensor:
    return torch.rand(n, 1, 8, 8).round()


@pytest.mark.parametrize("name", KINDS)
def test_shapes_gradients_and_state(name: str) -> None:
    method, image = made(**KINDS[name]), images()
    method.training_step({"image": image}, 0)["loss"].backward()
    for part, parameter in method.named_parameters():
        assert parameter.grad is not None, part
        assert parameter.grad.abs().sum() > 0, part
    method.eval()
    for found in (method.reconstruct(image), method.sample(6)):
        assert found.shape == image.shape
        assert 0 <= found.min() <= found.max() <= 1
    assert method(image).shape == (6, sum(method.hparams["latent_dims"]))
    assert method.interpolate(image[:1], image[1:2], 3).shape == (1, 3, 1, 8, 8)
    again = HierarchicalVAE(**method.hparams)
    again.load_state_dict(copy.deepcopy(method.state_dict()))
    assert torch.equal(again(image), method(image))
    assert method.double().sample(2).shape == (2, 1, 8, 8)  # all in one precision


def normal(numbers: Tensor) -> Normal:
    mean, logvar = numbers.chunk(2, -1)
    return Normal(mean, (0.5 * logvar).exp())


@torch.no_grad()
def test_the_bound_is_that_of_torchs_densities() -> None:
    method, image = made(), images()
    drawn = method.draw(image, method.posterior_noise(image, 4))  # (4, B, 5)
    top, low = drawn.z[..., :2], drawn.z[..., 2:]
    level: Any = method.levels[0]
    h = method.encoder(image)
    q_top, p_low = normal(method.to_top(h)), normal(level.to_prior(top))
    seen = torch.cat([h.expand(4, -1, -1), top], -1)
    q_low = normal(level.to_posterior(seen))
    log_p = Normal(0, 1).log_prob(top).sum(-1) + p_low.log_prob(low).sum(-1)
    log_q = q_top.log_prob(top).sum(-1) + q_low.log_prob(low).sum(-1)
    torch.testing.assert_close(drawn.log_ratio, log_p - log_q)
    kl_low = torch.distributions.kl_divergence(q_low, p_low).sum(-1)
    kl_top = torch.distributions.kl_divergence(q_top, Normal(0, 1)).sum(-1).expand(4, -1)
    torch.testing.assert_close(drawn.kl, torch.stack([kl_top, kl_low], -1))
    torch.manual_seed(1)
    figures = method.test_step({"image": image}, 0)
    torch.manual_seed(1)
    again = method.draw(image, method.posterior_noise(image, 4))
    log_w = again.log_ratio - method.decoder.nll(again.z, image)
    expected = -(log_w.logsumexp(0) - torch.log(torch.tensor(4.0))).mean()
    torch.testing.assert_close(figures["iwae_nll"], expected)


@torch.no_grad()
def test_a_top_level_that_says_nothing_leaves_a_vae_of_one_level() -> None:
    method, image = made(), images()
    level: Any = method.levels[0]
    for net in (method.to_top, level.to_prior):
        last = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    torch.manual_seed(1)
    found = method.training_step({"image": image}, 0)
    torch.manual_seed(1)
    z = method.draw(image, method.posterior_noise(image)).z
    seen = torch.cat([method.encoder(image), z[:, :2]], 1)
    mean, logvar = level.to_posterior(seen).chunk(2, 1)
    assert found["loss_kl_1"] == 0
    torch.testing.assert_close(found["loss_kl"], kl_standard_normal(mean, logvar).sum(1).mean())


def test_free_bits_are_a_levels() -> None:
    method, image = made(free_bits=1e6), images()
    found = method.training_step({"image": image}, 0)
    torch.testing.assert_close(found["loss"], found["loss_reconstruction"] + 2e6)


def test_one_draw_and_several_are_the_same_distribution() -> None:
    torch.manual_seed(0)
    method, image = made(latent_dims=[2, 2, 2], form="ladder"), images(2)
    with torch.no_grad():
        many = method.draw(image, method.posterior_noise(image, 3000))
        ones = torch.stack(
            [method.draw(image, method.posterior_noise(image)).z for _ in range(3000)]
        )
    torch.testing.assert_close(many.z.mean(0), ones.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(many.z.std(0), ones.std(0), atol=0.1, rtol=0)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"latent_dims": [4]}, "two sizes or more"),
    ({"latent_dims": [4, 0]}, "of at least 1"),
    ({"form": "tree"}, "unknown form 'tree'"),
    ({"prior": "normal"}, "unknown prior 'normal'"),
    ({"features": 0}, "features must be at least 1"),
    ({"free_bits": -1}, "free_bits must be at least 0"),
    ({"decoder": "pixelcnn", "channels": 3}, "pixelcnn requires one channel"),
    ({"prior": "vamp", "encoder": "resnet18", "image_size": 32}, "batch norm in the encoder"),
]


@pytest.mark.parametrize(("options", "words"), WRONG)
def test_wrong_arguments_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        HierarchicalVAE(**(SMALL | options))


@torch.no_grad()
def test_validation_draws_by_the_image_not_by_its_batch() -> None:
    method, image, index = made().eval(), images(), torch.arange(6)
    whole = method.validation_step({"image": image, "index": index}, 0)["loss"]
    parts = [
        method.validation_step({"image": image[rows], "index": index[rows]}, 0)["loss"]
        for rows in (slice(4, 6), slice(4))
    ]
    torch.testing.assert_close((2 * parts[0] + 4 * parts[1]) / 6, whole)


@torch.no_grad()
def test_every_level_has_its_kl_term() -> None:
    method, image = made(latent_dims=[2, 3, 4]), images()
    torch.manual_seed(1)
    found = method.training_step({"image": image}, 0)
    torch.manual_seed(1)
    expected = method.draw(image, method.posterior_noise(image)).kl.mean(0)
    each = torch.stack([found[f"loss_kl_{number}"] for number in (1, 2, 3)])
    torch.testing.assert_close(each, expected)
    torch.testing.assert_close(found["loss_kl"], expected.sum())
    batch: Any = {"image": image, "index": torch.arange(6)}
    for step in (method.validation_step, method.test_step):
        assert {"kl", "kl_1", "kl_2", "kl_3"} <= set(step(batch, 0))


@torch.no_grad()
def test_a_test_step_encodes_images_and_pseudo_inputs_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method, image, rows = made(**KINDS["vamp"]).eval(), images(), []
    monkeypatch.setattr("genlab.networks.latents.posteriors.ROWS", 6)  # a part for each draw
    method.encoder.register_forward_hook(lambda m, x, y: rows.append(len(y)))
    method.test_step({"image": image}, 0)
    assert sorted(rows) == [4, 6]


def test_its_noise_is_not_that_of_a_generator() -> None:
    assert not isinstance(made(), DecodesNoise)  # whose latents `path_length` draws by `noise(n)`
