"""What must be true of every normalizing flow, beyond the laws of every method."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch

from genlab import checkpoints
from genlab.data import Digits, Toys
from genlab.networks.flows.actnorm import ActNorm
from tests.callbacks.tiny import trainer
from tests.methods.programs_flows import METHODS, batch, moved, own_noise, small
from tests.methods.programs_ssl import same_state

IMAGES = [name for name in METHODS if not name.endswith("toys")]
PLANE = [name for name in METHODS if name.endswith("toys")]


@pytest.mark.parametrize("name", METHODS)
def test_its_log_density_is_that_of_the_jacobian_and_it_inverts(name: str) -> None:
    method = moved(name).double().eval()
    method.cell_noise = own_noise
    data = batch(method, 2)
    data["image"] = data["image"].double()
    y, _ = method.flow.pixels(data["image"], own_noise(data["image"]))
    z, log_det = method.flow.layers(y)
    again, back = method.flow.layers.inverse(z)
    torch.testing.assert_close(again, y, atol=1e-8, rtol=0)
    torch.testing.assert_close(back, -log_det, atol=1e-8, rtol=0)

    def flat(v: torch.Tensor) -> torch.Tensor:
        noise = own_noise(data["image"][:1]) + v.view_as(data["image"][:1])
        pixels = method.flow.pixels
        y, _ = pixels(data["image"][:1], noise) if pixels.quantised else (noise, None)
        return method.flow.layers(y)[0][0]

    dim = z.shape[1]
    shift = torch.zeros(dim, dtype=torch.float64)
    if not method.flow.pixels.quantised:
        shift = (data["image"][:1] - own_noise(data["image"][:1])).flatten()
    jacobian = torch.autograd.functional.jacobian(flat, shift)
    exact = method.flow.latents.log_prob(z[:1]) + torch.linalg.slogdet(jacobian)[1]
    torch.testing.assert_close(method.log_prob(data["image"][:1]), exact, atol=1e-8, rtol=0)


@pytest.mark.parametrize("name", PLANE)
def test_a_density_in_the_plane_integrates_to_one(name: str) -> None:
    method = moved(name).double().eval()
    line = torch.linspace(-12, 12, 601, dtype=torch.float64)
    points = torch.cartesian_prod(line, line).view(-1, 2, 1, 1)
    with torch.no_grad():
        mass = method.log_prob(points).exp().sum() * (24 / 600) ** 2
    assert mass.item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_what_is_encoded_is_decoded_and_samples_lie_in_range(name: str) -> None:
    method = moved(name)
    image = batch(method)["image"]
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(method.reconstruct(image), image, atol=1e-5, rtol=0)
    again = method.encode(method.sample(8))
    assert again.shape == (8, image[0].numel())
    if name in IMAGES:
        drawn = method.sample(16)
        assert 0 <= drawn.min() <= drawn.max() <= 1
        torch.testing.assert_close(drawn * 255, (drawn * 255).round(), atol=1e-3, rtol=0)
    cold = method.sample(4, temperature=0.0)
    if not getattr(method, "num_classes", 0):
        assert torch.equal(cold, cold[:1].expand_as(cold))
    path = method.interpolate(image[:2], image[2:4], 5)
    assert path.shape == (2, 5, *image.shape[1:])
    torch.testing.assert_close(path[:, 0], image[:2], atol=1e-5, rtol=0)
    torch.testing.assert_close(path[:, -1], image[2:4], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", METHODS)
def test_a_step_is_finite_scalars(name: str) -> None:
    method = moved(name)
    out = method.training_step(batch(method, 24), 0)
    assert set(out) == {"loss"} | ({"bits_per_dim"} if name in IMAGES else set())
    for value in out.values():
        assert value.shape == ()
        assert value.isfinite()
    if name in IMAGES:
        bits = out["loss"] / (64 * math.log(2))
        torch.testing.assert_close(out["bits_per_dim"], bits)


@pytest.mark.parametrize("name", METHODS)
def test_autocast_changes_the_loss_by_a_rounding(name: str) -> None:
    method = moved(name).eval()
    method.cell_noise = own_noise
    data = batch(method)
    plain = method.training_step(data, 0)["loss"].detach()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = method.training_step(data, 0)["loss"].detach()
    assert rounded.dtype == torch.float32
    assert float(rounded) == pytest.approx(float(plain), rel=0.02, abs=0.03)


@pytest.mark.parametrize("name", METHODS)
def test_its_plain_description_builds_it_again(name: str) -> None:
    method = moved(name).eval()
    again = checkpoints.build(copy.deepcopy(checkpoints.spec(method))).eval()
    again.load_state_dict(method.state_dict())
    image = batch(method)["image"]
    assert torch.equal(again(image), method(image))


@pytest.mark.parametrize("name", METHODS)
def test_neither_validation_nor_sampling_starts_actnorm(name: str, tmp_path: Path) -> None:
    method = small(name)
    layers = [m for m in method.modules() if isinstance(m, ActNorm)]
    before = copy.deepcopy(method.state_dict())
    data = Toys(size=160, held_out=100) if name in PLANE else Digits(val_size=100)
    run = trainer(tmp_path)
    run.validate(method, datamodule=data, verbose=False)
    method.train()
    method.sample(4)
    assert same_state(before, method.state_dict()) == []
    assert run.callback_metrics["val/loss"].isfinite()
    assert ("val/bits_per_dim" in run.callback_metrics) is (name in IMAGES)
    method.train().training_step(batch(method), 0)
    assert layers
    assert all(layer.initialised for layer in layers)
