"""Priors: golden values, densities that integrate to one, draws that follow them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.data import Digits
from genlab.networks.latents.choice import check_objective, latents
from genlab.networks.latents.priors import (
    CategoricalPrior,
    FlowPrior,
    MixturePrior,
    StandardPrior,
    VampPrior,
    mixture_log_prob,
    prior,
)
from tests.networks.flows.golden import first, second

SHAPE = (1, 2, 2)


def test_a_mixture_keeps_its_constants() -> None:
    """The reference code of VampPrior leaves out 1.5 log 2 pi: -1.5159844235, -.9053911657."""
    log_weight = torch.zeros(4, dtype=torch.float64).log_softmax(0)
    found = mixture_log_prob(first(2, 3), second(4, 3), 0.5 * first(4, 3), log_weight)
    assert found.tolist() == pytest.approx([-4.2728000231, -3.6622067653], abs=1e-9)


def test_many_latents_are_compared_in_parts() -> None:
    z = torch.randn(3, 200, 2)
    mean, logvar, weight = torch.randn(5, 2), torch.randn(5, 2), torch.randn(5).log_softmax(0)
    whole = mixture_log_prob(z, mean, logvar, weight)
    torch.testing.assert_close(whole[1, 7:9], mixture_log_prob(z[1, 7:9], mean, logvar, weight))


def encode(image: Tensor) -> tuple[Tensor, Tensor]:
    """Two latents of an image: its first two pixels, spread by the other two."""
    x = image.flatten(1)
    return 4 * x[:, :2] - 2, 2 * x[:, 2:] - 3


def made(name: str) -> StandardPrior:
    torch.manual_seed(0)
    options: dict[str, Any] = {"components": 4} if name in ("mixture", "vamp") else {}
    options |= {"hidden_dims": [16], "steps": 3} if name == "flow" else {}
    p = prior(name, 2, SHAPE, **options)
    with torch.no_grad():
        for weight in p.parameters():
            weight.add_(0.5 * torch.randn_like(weight))
    return p.double()


@pytest.mark.parametrize("name", ["standard", "mixture", "vamp", "flow"])
def test_a_density_integrates_to_one_and_draws_follow_it(name: str) -> None:
    p = made(name)
    axis = torch.linspace(-12, 12, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        density = p.log_prob(grid, encode).exp() * (axis[1] - axis[0]) ** 2
        drawn = p.float().sample(40_000, 1.0, encode)
    assert density.sum().item() == pytest.approx(1.0, abs=2e-3)
    mean = (density[:, None] * grid).sum(0)
    spread = (density[:, None] * (grid - mean).square()).sum(0).sqrt()
    assert ((drawn.mean(0) - mean).abs() < 5 * spread / 200).all()
    assert ((drawn.std(0) / spread - 1).abs() < 0.05).all()


def test_draws_of_a_vampprior_reach_every_pseudo_input() -> None:
    p = VampPrior(2, SHAPE, components=20)
    p.start(torch.rand(100, *SHAPE))
    counts = torch.zeros(20)
    means = encode(p.pseudo.sigmoid())[0]

    def certain(image: Tensor) -> tuple[Tensor, Tensor]:
        return encode(image)[0], torch.full((len(image), 2), -40.0)

    z = p.sample(10_000, 1.0, certain)
    counts += torch.bincount(torch.cdist(z, means).argmin(1), minlength=20)
    assert ((counts - 500).square() / 500).sum() < 43.8  # chi-square, 19 degrees, 1 in 1,000


def test_pseudo_inputs_start_from_images_spread_over_those_given() -> None:
    p = VampPrior(2, SHAPE, components=3)
    image = torch.linspace(0, 1, 9)[:, None, None, None].expand(9, *SHAPE)
    p.start(image)
    assert p.started
    found = p.pseudo.detach().sigmoid()[:, 0, 0, 0].tolist()
    assert found == pytest.approx([0.02, 0.5, 0.98], abs=1e-5)
    with pytest.raises(RuntimeError, match="size"):
        p.start(torch.rand(4, 1, 3, 3))


def test_pseudo_inputs_have_a_gradient_through_the_encoder() -> None:
    p = VampPrior(2, SHAPE, components=3)
    p.log_prob(torch.randn(5, 4, 2), encode).sum().backward()
    assert p.pseudo.grad is not None
    assert (p.pseudo.grad != 0).all()


def test_a_flow_prior_starts_as_the_standard_one() -> None:
    z = torch.randn(3, 4, 5)
    same = StandardPrior(5).log_prob(z, encode)
    torch.testing.assert_close(FlowPrior(5).log_prob(z, encode), same)


def test_categories_are_equally_likely() -> None:
    p = CategoricalPrior(2, 3)
    drawn = p.sample(30_000, 1.0, encode)
    assert (drawn.view(-1, 2, 3).sum(2) == 1).all()
    assert (drawn.mean(0) - 1 / 3).abs().max() < 0.014
    assert p.log_prob(drawn, encode)[:2].exp().tolist() == pytest.approx([1 / 9, 1 / 9])


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("normal", {}, "unknown prior 'normal'; choose from standard, mixture, vamp, flow"),
    ("vamp", {"component": 3}, "components"),
    ("mixture", {"components": 0}, "components must be at least 1"),
    ("flow", {"steps": 0}, "steps must be at least 1"),
    ("flow", {"coupling": "cubic"}, "unknown coupling 'cubic'"),
]


@pytest.mark.parametrize(("name", "options", "words"), WRONG)
def test_bad_arguments_are_named(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        prior(name, 3, SHAPE, **options)


def test_latents_that_do_not_fit_are_refused() -> None:
    for p, q, words in (
        ("flow", "categorical", "posterior categorical requires prior standard, got flow"),
        ("vamp", "iaf", "prior vamp requires posterior gaussian, got iaf"),
    ):
        with pytest.raises(ValueError, match=words):
            latents(3, SHAPE, p, q)
    assert isinstance(latents(3, SHAPE, "standard", "categorical")[0], CategoricalPrior)
    assert isinstance(latents(3, SHAPE, "mixture", "iaf")[0], MixturePrior)


GIVEN: dict[str, Any] = {
    "latent_dim": 2, "iw_samples": 1, "iwae_samples": 1, "kl_weight": 1, "kl_warmup_steps": 0,
    "free_bits": 0, "objective": "beta", "path_gradient": False, "prior": "standard",
    "posterior": "gaussian",
}  # fmt: skip
UNFIT: list[tuple[dict[str, Any], str]] = [
    ({"objective": "elbo"}, "unknown objective 'elbo'; choose from beta, tc"),
    ({"objective": "tc", "prior": "flow"}, "objective tc requires"),
    ({"objective": "tc", "iw_samples": 2}, "objective tc requires"),
    ({"free_bits": 1, "prior": "vamp"}, "free_bits requires"),
    ({"free_bits": 1, "posterior": "iaf"}, "free_bits requires"),
    ({"path_gradient": True, "posterior": "iaf"}, "path_gradient requires posterior=gaussian"),
    ({"posterior": "categorical", "iw_samples": 2}, "categorical requires iw_samples=1"),
]


@pytest.mark.parametrize(("options", "words"), UNFIT)
def test_settings_that_exclude_each_other_are_refused(options: dict[str, Any], words: str) -> None:
    check_objective(GIVEN)
    with pytest.raises(ValueError, match=words):
        check_objective(GIVEN | options)


def test_a_temperature_without_effect_is_refused() -> None:
    with pytest.raises(ValueError, match=r"temperature 0.1 cannot be combined with .* categorical"):
        CategoricalPrior(2, 3).sample(4, 0.1, encode)


def test_a_fresh_vampprior_prepares_itself_from_training_images() -> None:
    data = Digits(batch_size=64, val_size=200)
    data.prepare_data()
    data.setup("fit")
    p = VampPrior(2, (1, 8, 8), components=7)
    before = p.pseudo.detach().clone()
    p.prepare(None)
    assert torch.equal(p.pseudo, before)
    p.prepare(data)
    read = data.bank_dataloader("train", most=140)
    image = torch.cat([data.to_device(batch)["image"] for batch in read]).clamp(0.02, 0.98)
    nearest = (p.pseudo.detach().sigmoid()[:, None] - image).abs().amax((2, 3, 4)).min(1)
    assert nearest.values.max() < 1e-5
    assert len(nearest.indices.unique()) == 7
    started = p.pseudo.detach().clone()
    p.prepare(Digits(batch_size=64, val_size=300))  # would fail: it was not set up
    assert torch.equal(p.pseudo, started)
