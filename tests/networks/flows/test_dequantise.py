"""Dequantisation and preprocessing: 8 bits for the uniform model, whatever the mapping."""

from __future__ import annotations

import math

import pytest
import torch

from genlab.networks.flows.dequantise import PREPROCESSES, Pixels
from genlab.networks.flows.image_flow import ImageFlow
from genlab.networks.flows.latents import Latents
from genlab.networks.interpolation import latent_path

MAPPED = [name for name in PREPROCESSES if name != "none"]


def images(levels: int = 256) -> torch.Tensor:
    drawn = torch.randint(0, levels, (5, 2, 3, 3)).double() / (levels - 1)
    drawn[0, 0, 0] = torch.tensor([0.0, 1.0, 1.0])
    return drawn


@pytest.mark.parametrize("levels", [256, 17])
@pytest.mark.parametrize("preprocess", MAPPED)
def test_a_uniform_model_needs_the_logarithm_of_the_levels(preprocess: str, levels: int) -> None:
    """The density of y that is uniform in the pixels, from the mapping's derivative by autograd."""
    pixels, image = Pixels(preprocess, levels), images(levels)
    noise = torch.rand_like(image).requires_grad_()
    y, log_det = pixels(image, noise)
    slope = torch.autograd.grad(y.sum(), noise)[0]  # dy / d(level): noise is in units of a level
    log_density = -(slope * levels).log().flatten(1).sum(1)  # of y, where x in [0, 1) is uniform
    bits = -(log_density + log_det) / (18 * math.log(2))
    torch.testing.assert_close(bits, torch.full_like(bits, math.log2(levels)), rtol=0, atol=1e-12)


def test_the_constants_are_those_of_the_papers() -> None:
    """Bits are 8 - log p / (D ln 2) for [0, 1) and [-.5, .5), 7 - ... for [-1, 1)."""
    image, noise = images(), torch.rand(5, 2, 3, 3)
    for name, bits in (("unit", 8.0), ("centred", 8.0), ("symmetric", 7.0)):
        log_det = Pixels(name)(image, noise)[1]
        assert (-log_det / (18 * math.log(2))).tolist() == pytest.approx([bits] * 5)


@pytest.mark.parametrize("levels", [256, 17])
@pytest.mark.parametrize("preprocess", MAPPED)
def test_every_place_in_a_cell_gives_the_image_back(preprocess: str, levels: int) -> None:
    pixels, image = Pixels(preprocess, levels, alpha=1e-6), images(levels).float()
    for place in (0.01, 0.5, 0.99):
        y, _ = pixels(image, torch.full_like(image, place))
        assert y.dtype == torch.float32
        torch.testing.assert_close(pixels.inverse(y), image, atol=1e-6, rtol=0)


def test_noise_comes_after_the_levels_are_whole() -> None:
    image = images() + 0.3 / 255 * torch.rand(5, 2, 3, 3)
    noise = torch.rand_like(image)
    whole = (image * 255).round() / 255
    assert torch.equal(Pixels("unit")(image, noise)[0], Pixels("unit")(whole, noise)[0])


def test_real_numbers_pass_as_they_are() -> None:
    pixels, x = Pixels("none"), 5 * torch.randn(4, 2, 1, 1)
    y, log_det = pixels(x, torch.rand_like(x))
    assert torch.equal(y, x)
    assert torch.equal(pixels.inverse(y), x)
    assert not log_det.any()
    assert not pixels.quantised


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown preprocess 'tanh'; choose from none, unit"):
        Pixels("tanh")
    with pytest.raises(ValueError, match="levels 1"):
        Pixels(levels=1)
    with pytest.raises(ValueError, match=r"alpha 0\.5"):
        Pixels(alpha=0.5)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("kind", ["normal", "logistic"])
def test_latents_integrate_to_one_with_and_without_classes(kind: str, classes: int) -> None:
    latents = Latents(1, kind, classes).double()
    for p in latents.parameters():
        torch.nn.init.normal_(p)
    z = torch.linspace(-100, 100, 400_001, dtype=torch.float64)[:, None]
    mass = latents.log_prob(z).exp().sum() * 200 / 400_000
    assert mass.item() == pytest.approx(1, abs=1e-6)
    if classes:
        each = latents.log_prob_by_class(z).exp().sum(0) * 200 / 400_000
        assert each.tolist() == pytest.approx([1.0] * 3, abs=1e-6)


def test_a_known_label_takes_its_class_and_an_unknown_one_the_mixture() -> None:
    latents = Latents(4, num_classes=3)
    for p in latents.parameters():
        torch.nn.init.normal_(p)
    z = torch.randn(3, 4)
    found = latents.log_prob(z, torch.tensor([2, -1, 0]))
    by_class = latents.log_prob_by_class(z)
    mixture = by_class.exp().mean(1).log()
    torch.testing.assert_close(found, torch.stack([by_class[0, 2], mixture[1], by_class[2, 0]]))
    torch.testing.assert_close(latents.log_prob(z), mixture)


@pytest.mark.parametrize("kind", ["normal", "logistic"])
def test_samples_follow_the_density_and_temperature_narrows_them(kind: str) -> None:
    latents = Latents(1, kind)
    z = latents.sample(40_000)
    width = 1.0 if kind == "normal" else math.pi / math.sqrt(3)
    assert z.std().item() == pytest.approx(width, rel=0.02)
    torch.manual_seed(0)
    cold = latents.sample(40_000, temperature=0.5)
    assert torch.equal(cold, 0.5 * z)
    assert not latents.sample(3, temperature=0).any()
    with pytest.raises(ValueError, match="have no classes"):
        latents.sample(2, torch.tensor([0, 1]))


def test_samples_of_a_class_lie_around_its_mean() -> None:
    latents = Latents(2, num_classes=3)
    assert latents.mean is not None
    torch.nn.init.constant_(latents.mean[1], 50.0)
    label = torch.tensor([0, 1, 2, 1])
    assert (latents.sample(4, label) > 25).all(1).tolist() == [False, True, False, True]


def test_paths_start_and_end_at_their_ends_and_the_arc_keeps_its_length() -> None:
    start, end = torch.randn(2, 5, 100)
    for spherical in (True, False):
        path = latent_path(start, end, 7, spherical)
        assert path.shape == (5, 7, 100)
        torch.testing.assert_close(path[:, 0], start, atol=1e-5, rtol=0)
        torch.testing.assert_close(path[:, -1], end, atol=1e-5, rtol=0)
    arc, line = (latent_path(start, end, 7, s).norm(dim=2)[:, 3] for s in (True, False))
    torch.testing.assert_close(arc, (start.norm(dim=1) + end.norm(dim=1)) / 2)
    assert (line < 0.9 * arc).all()
    still = latent_path(start, start, 3)
    torch.testing.assert_close(still, start[:, None].expand(-1, 3, -1), atol=1e-4, rtol=0)
    assert latent_path(start, torch.zeros_like(end), 3).isfinite().all()


def test_a_flow_without_layers_is_its_latents_and_its_pixels() -> None:
    from genlab.networks.flows.bijections import Chain, Reshape

    model = ImageFlow(Pixels("unit"), Chain([Reshape((2, 3, 3), (18,))]), Latents(18)).double()
    image, noise = images(), torch.rand(5, 2, 3, 3, dtype=torch.float64)
    x = ((image * 255).round() + noise) / 256
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(x).flatten(1).sum(1)
    expected = normal - 18 * math.log(256)
    torch.testing.assert_close(model.log_prob(image, noise), expected)
    bits = model.bits_per_dim(expected)
    assert bits.item() == pytest.approx(8 - normal.mean().item() / 18 / math.log(2))
    torch.testing.assert_close(model.decode(model.encode(image)), image)
