"""FFJORD: its loss is a likelihood, its gradient that loss's, its density one of the plane."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from genlab.data import Toys
from genlab.methods.ffjord import FFJORD
from genlab.networks import odes
from genlab.networks.denoisers.squash_mlp import SquashLinear, SquashMLP
from tests.callbacks.tiny import trainer
from tests.methods.test_flow_matching import batch

PLANE: dict[str, Any] = {
    "channels": 2, "image_size": 1, "preprocess": "none", "probes": 0,
    "solver_steps": 4, "likelihood_steps": 4,
    "network_kwargs": {"hidden_dims": [16, 16]},
}  # fmt: skip


def plane(**options: Any) -> FFJORD:
    torch.manual_seed(1)
    return FFJORD(**PLANE | options).double()


def points(n: int = 5) -> Any:
    drawn = torch.randn(n, 2, 1, 1, generator=torch.Generator().manual_seed(2)).double()
    return {"image": drawn, "label": torch.arange(n) % 2, "index": torch.arange(n)}


def test_the_loss_is_the_change_of_variables() -> None:
    """By the Jacobian of the map to the noise that the solver's own steps make."""
    method, many = plane(solver_steps=30), points(3)
    loss = method.training_step(many, 0)["loss"]

    def noise(x: Tensor) -> Tensor:
        options = "rk4", 30, (1.0, 0.0)
        return odes.solve(method.velocity_at, x.view(1, 2, 1, 1), *options)[0].flatten()

    expected = []
    for x in many["image"].flatten(1):
        slopes: Any = torch.autograd.functional.jacobian(noise, x)
        normal = -0.5 * (noise(x).square().sum() + 2 * math.log(2 * math.pi))
        expected.append(normal + slopes.slogdet().logabsdet)
    torch.testing.assert_close(loss, -torch.stack(expected).mean(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("solver", ["euler", "rk4", "dopri5"])
def test_the_gradient_is_that_of_the_loss(solver: str) -> None:
    """Against differences of the loss without a gradient; dopri5's steps may change."""
    if solver == "dopri5":
        pytest.importorskip("torchdiffeq")
    method, many = plane(solver=solver, likelihood_solver=solver), points()
    method.training_step(many, 0)["loss"].backward()
    small, network = 1e-5, cast(SquashMLP, method.velocity)
    first = cast(SquashLinear, network.layers[0])
    for p in (network.out.linear.weight, first.gate.weight):
        assert p.grad is not None
        found, losses = float(p.grad.flatten()[1]), []
        for side in (1, -1):
            with torch.no_grad():
                p.view(-1)[1] += side * small
                losses.append(float(method.validation_step(many, 0)["loss"]))
                p.view(-1)[1] -= side * small
        rough = 1e-3 if solver == "dopri5" else 1e-6
        assert found == pytest.approx((losses[0] - losses[1]) / (2 * small), rel=rough, abs=rough)
        assert abs(found) > 1e-4


def test_energies_are_penalised_with_their_gradient() -> None:
    """The loss adds weight times energy; its gradient is that of its differences."""
    method, many = plane(kinetic_weight=0.3, jacobian_weight=0.2), points()
    found, small = method.training_step(many, 0), 1e-5
    added = 0.3 * found["kinetic"] + 0.2 * found["jacobian"]
    torch.testing.assert_close(found["loss"] - added, method.validation_step(many, 0)["loss"])
    found["loss"].backward()
    weight = cast(SquashMLP, method.velocity).out.linear.weight
    assert weight.grad is not None
    slope, losses = float(weight.grad.flatten()[1]), []
    for side in (1, -1):
        with torch.no_grad():
            weight.view(-1)[1] += side * small
        losses.append(float(method.training_step(many, 0)["loss"].detach()))
        with torch.no_grad():
            weight.view(-1)[1] -= side * small
    assert slope == pytest.approx((losses[0] - losses[1]) / (2 * small), rel=1e-6)


def test_random_signs_are_right_on_average() -> None:
    method, exact = plane(probes=600, solver="midpoint"), plane(solver="midpoint")
    torch.manual_seed(3)
    found = method.training_step(points(), 0)["loss"]
    torch.testing.assert_close(found, exact.training_step(points(), 0)["loss"], rtol=0, atol=0.02)
    method.hparams["probes"] = 1
    torch.manual_seed(3)
    one = method.training_step(points(), 0)["loss"]
    assert not one.isclose(found, atol=1e-6)


def test_the_density_integrates_to_one() -> None:
    method = plane(likelihood_steps=10)
    with torch.no_grad():
        for p in method.parameters():
            p.add_(0.3 * torch.randn_like(p))
    line = torch.linspace(-9, 9, 181, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line).view(-1, 2, 1, 1)
    mass = method.log_prob(grid).exp().sum() * (line[1] - line[0]) ** 2
    assert float(mass) == pytest.approx(1, abs=0.01)


def test_images_have_bits_and_are_encoded_and_decoded() -> None:
    method = FFJORD(1, 8, levels=17, network_kwargs={"hidden_dims": [16]})
    figures = method.training_step(batch(), 0)
    assert set(figures) == {"loss", "bits_per_dim", "density_nfe", "kinetic", "jacobian"}
    assert float(figures["density_nfe"]) == 32
    bits = figures["loss"] / (64 * math.log(2))
    torch.testing.assert_close(figures["bits_per_dim"], bits)
    assert torch.equal(method.reconstruct(batch()["image"]), batch()["image"])
    drawn = method.sample(3)
    torch.testing.assert_close((drawn * 16).round(), drawn * 16)


def test_it_learns_two_moons(tmp_path: Path) -> None:
    """Half a minute: well below a Gaussian's 2.5 nats, and never below the true density's."""
    torch.manual_seed(0)
    method = FFJORD(
        **PLANE | {"network_kwargs": {"hidden_dims": [32, 32]}},
        optimizer={"name": "adam", "lr": 1e-2, "schedule": "cosine"},
    )
    data = Toys("two_moons", size=4096, held_out=1000, batch_size=256)
    trainer(tmp_path, max_steps=150, max_epochs=-1).fit(method, data)
    held = next(iter(data.bank_dataloader("test")))["image"]
    above = data.log_prob(held) - method.log_prob(held)
    assert float(above.mean()) < 0.9
    assert float(above.mean()) > -3 * float(above.std()) / len(above) ** 0.5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"solver": "eul"}, "unknown solver 'eul'"),
        ({"probes": -1}, "must be at least 0"),
        ({"jitter": 1.2}, "jitter 1.2 must lie in"),
        ({"jacobian_weight": -0.1}, "jacobian_weight must be at least 0"),
        ({"network_kwargs": {"activation": "relu"}}, "activation 'relu' has a kink"),
        ({"network_kwargs": {"hidden_dims": []}}, "hidden_dims must name"),
    ],
)
def test_refusals(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FFJORD(**PLANE | options)
