"""Diffusion: its loss, samplers, guidance, densities, averages and refusals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab import recipes
from genlab.data import MNIST, Digits, Toys
from genlab.methods.diffusion import Diffusion
from genlab.networks.denoisers.noise_levels import SCHEDULES
from genlab.networks.denoisers.preconditioned import preconditioning
from tests.callbacks.tiny import trainer
from tests.methods.test_flow_matching import POINTS, Known, batch

TINY: dict[str, Any] = {
    "channels": 1, "image_size": 8, "num_classes": 3, "levels": 17, "network": "mlp",
    "network_kwargs": {"hidden_dims": [16], "condition_dim": 8},
    "sampler_steps": 4, "solver_steps": 4, "likelihood_steps": 4,
}  # fmt: skip


def tiny(**options: Any) -> Diffusion:
    torch.manual_seed(1)
    return Diffusion(**TINY | options)


def knowing(seen: Any, **options: Any) -> tuple[Diffusion, Known]:
    """One whose averaged network, inside its preconditioning, is a function."""
    method, known = tiny(**options), Known(seen)
    method.denoiser_ema.average.network = known
    return method, known


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_fresh_networks_loss_is_that_of_the_skip_alone(schedule: str) -> None:
    kwargs = {"width": 8, "multipliers": [1, 2]}
    method = tiny(schedule=schedule, network="unet", network_kwargs=kwargs, sigma_data=0.7)
    whole = batch()
    torch.manual_seed(7)
    found = method.training_step(whole, 0)["loss"].detach()
    torch.manual_seed(7)
    cell = torch.rand_like(whole["image"])
    data = 2 * (16 * whole["image"] + cell) / 17 - 1
    level = method.noise_levels.at(torch.rand(len(data))).view(-1, 1, 1, 1)
    noisy = data + level * torch.randn_like(data)
    error = 0.49 / (level**2 + 0.49) * noisy - data
    weight = 1 / level**2 + (1 / 0.49 if schedule == "edm" else 0)
    torch.testing.assert_close(found, (weight * error.square()).sum((1, 2, 3)).mean())


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_what_a_network_sees_and_should_say_has_unit_variance(
    name: str, request: pytest.FixtureRequest
) -> None:
    """sigma_data is the data's: c_in x and F's target have variance 1 within a tenth."""
    images: Any = Digits()
    if name == "mnist":
        images = MNIST(root=str(request.getfixturevalue("data_root")))
    given = recipes.resolve([f"diffusion/{name}"]).arguments("model")
    method = Diffusion(1, images.image_size, 10, **given)
    raw = next(iter(images.bank_dataloader("train", most=1000)))
    image = images.to_device(raw)["image"]
    torch.manual_seed(0)
    data, _ = method.pixels(image, torch.rand_like(image))
    data = data - data.mean()
    for level in (0.05, 0.5, 5.0):
        noisy = data + level * torch.randn_like(data)
        skip, out, scale, _ = preconditioning(torch.tensor(level), method.hparams["sigma_data"])
        assert float((scale * noisy).var()) == pytest.approx(1, abs=0.1)
        assert float(((data - skip * noisy) / out).var()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("sampler", "calls"), [("heun", 7), ("ddim", 4), ("ancestral", 4)])
def test_samples_are_levels_of_every_class_in_turn(sampler: str, calls: int) -> None:
    method, known = knowing(lambda x, t: 0 * x, conditional=True, sampler=sampler)
    images = method.sample(5)
    assert images.shape == (5, 1, 8, 8)
    torch.testing.assert_close((images * 16).round(), images * 16)
    assert [label.tolist() for label in known.labels[:1] if label is not None] == [[0, 1, 2, 0, 1]]
    assert method.nfe == len(known.labels) == calls
    assert sampler == "ancestral" or method.sample(2, temperature=0.0).std() == 0


def test_guidance_goes_beyond_the_class() -> None:
    """D_c + w (D_c - D_u); under a class the known network says 1 more."""
    plain: dict[str, Any] = {"conditional": True, "preprocess": "none", "sampler": "ddim"}
    images = {}
    for weight, calls in ((0.0, 4), (0.5, 8)):
        method, known = knowing(lambda x, t: 0 * x, guidance=weight, **plain)
        torch.manual_seed(0)
        images[weight] = method.sample(2, torch.tensor([0, 2]))
        assert method.nfe == len(known.labels) == calls
    torch.manual_seed(0)
    without = method.sample(2, torch.tensor([-1, -1]))
    assert not images[0.5].equal(images[0.0])
    method, _ = knowing(lambda x, t: 0 * x, **plain | {"conditional": False})
    torch.manual_seed(0)
    none = method.sample(2)
    torch.testing.assert_close(images[0.5] - none, 1.5 * (images[0.0] - none))
    assert without.shape == none.shape


def test_encode_and_decode_are_inverses_and_follow_the_sampler() -> None:
    method = tiny(preprocess="none", solver_steps=60, sampler_steps=200).double()
    image = batch()["image"].double()
    torch.testing.assert_close(method.decode(method.encode(image)), image, rtol=0, atol=1e-5)
    paths = method.interpolate(image[:2], image[2:4], 3)
    assert paths.shape == (2, 3, 1, 8, 8)
    torch.testing.assert_close(paths[:, 0], image[:2], rtol=0, atol=1e-5)


@pytest.mark.parametrize("probes", [0, 2])
def test_densities_of_points_are_exact(probes: int) -> None:
    """A network that says nothing is exact for N(0, sigma_data^2)."""
    options = POINTS | {"network_kwargs": {}, "probes": probes, "likelihood_steps": 40}
    method, _ = knowing(lambda x, t: 0 * x, **options)
    points = torch.tensor([[0.3, -0.9], [1.0, 0.0]]).double().view(2, 2, 1, 1)
    normal = torch.distributions.Normal(0.0, torch.tensor(0.5).double())
    expected = normal.log_prob(points).sum((1, 2, 3))
    torch.testing.assert_close(method.log_prob(points), expected, rtol=0, atol=1e-5)
    assert method.nfe == 160


def test_figures_belong_to_the_image_and_not_to_its_batch() -> None:
    method, every = tiny(test_likelihood=True).double(), batch()
    every["image"] = every["image"].double()
    whole = method.test_step(every, 0)
    torch.manual_seed(99)
    parts = [
        method.test_step({k: v[rows] for k, v in every.items()}, 0)  # type: ignore[arg-type]
        for rows in (slice(0, 2), slice(2, 6))
    ]
    for name in ("loss", "nll", "bits_per_dim"):
        mean = (2 * parts[0][name] + 4 * parts[1][name]) / 6
        torch.testing.assert_close(whole[name].double(), mean.double())
    assert float(whole["density_nfe"]) == 16
    bits = whole["nll"] / (64 * math.log(2))
    torch.testing.assert_close(whole["bits_per_dim"], bits)


def test_the_average_moves_once_per_optimiser_step_and_samples(tmp_path: Path) -> None:
    method = Diffusion(**POINTS, ema_decay=0.9, network_kwargs={"hidden_dims": [8]},
                       optimizer={"name": "torch.sgd", "lr": 0.01})  # fmt: skip
    first = [p.detach().clone() for p in method.denoiser.parameters()]
    data = Toys("two_moons", size=64, held_out=8, batch_size=32)
    options: dict[str, Any] = {"max_steps": 1, "max_epochs": -1, "accumulate_grad_batches": 2}
    trainer(tmp_path, **options).fit(method, data)
    pairs = zip(first, method.denoiser.parameters(), method.denoiser_ema.parameters(), strict=True)
    for start, now, mean in pairs:
        assert not start.equal(now)
        torch.testing.assert_close(mean, start.lerp(now.detach(), 1 - 2 / 11))
    z: Tensor = torch.zeros(1, 2)
    before = method.decode(z)
    with torch.no_grad():
        for p in method.denoiser.parameters():
            p.fill_(9)
    assert method.decode(z).equal(before)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"schedule": "sigmoid"}, "unknown schedule 'sigmoid'"),
        ({"sampler": "huen"}, "unknown sampler 'huen'"),
        ({"sampler_steps": 1}, "sampler_steps 1 must be at least 2"),
        ({"sigma_data": 0.0}, "sigma_data 0.0 must be above 0"),
        ({"sigma_log_spread": 0.0}, "sigma_log_spread 0.0 must be above 0"),
        ({"schedule": "linear", "sigma_log_mean": -1.2}, "sigma_log_mean requires schedule edm"),
        ({"solver": "eul"}, "unknown solver 'eul'"),
        ({"guidance": 1.0}, "guidance requires conditional=true"),
    ],
)
def test_refusals(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Diffusion(**TINY | options)
