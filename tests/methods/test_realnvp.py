"""RealNVP: its scales, and that what is trained still inverts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.data import Digits, Toys
from genlab.methods.realnvp import RealNVP
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer
from tests.methods.programs_flows import small


def kinds(method: torch.nn.Module) -> Counter[str]:
    return Counter(type(m).__name__ for m in method.modules())


def test_a_scale_is_checkerboards_squeeze_halves_and_a_half_that_is_done() -> None:
    found = kinds(RealNVP(1, 28, scales=3, couplings=3, width=2, blocks=1))
    assert found["CheckerboardCoupling"] == 3 + 3 + 4
    assert found["HalfCoupling"] == 3 + 3
    assert found["Squeeze"] == found["FactorOut"] == 2
    assert found["ActNorm"] == 16
    method = RealNVP(1, 28, scales=3, couplings=1, width=2, blocks=1)
    assert method(torch.rand(2, 1, 28, 28)).shape == (2, 784)


def test_couplings_take_turns_so_that_every_pixel_changes() -> None:
    method = RealNVP(1, 8, scales=1, couplings=1, width=4).eval()
    flips = [m.flip for m in method.modules() if type(m).__name__ == "CheckerboardCoupling"]
    assert flips == [False, True]


def fitted(method: RealNVP, data: Any, folder: Path, epochs: int) -> dict[str, float]:
    run = trainer(folder, Reseed(), max_epochs=epochs, limit_val_batches=0)
    run.fit(method, datamodule=data)
    run.test(method, datamodule=data, verbose=False)
    return {name: float(value) for name, value in run.callback_metrics.items()}


@pytest.mark.parametrize("coupling", ["affine", "spline"])
def test_a_trained_flow_inverts_in_float32_and_beats_chance(coupling: str, tmp_path: Path) -> None:
    """Uniform pixels cost 4.09 bits; three epochs cost 2.8 to 3.1 over couplings and seeds."""
    method = RealNVP(
        1, 8, network="mlp", couplings=3, hidden_dims=[64], coupling=coupling, levels=17,
        optimizer={"name": "adam", "lr": 3e-3, "schedule": "cosine"},
    )  # fmt: skip
    data = Digits(batch_size=32, val_size=200, seed=0)
    figures = fitted(method, data, tmp_path, 3)
    assert figures["test/bits_per_dim"] < 3.4
    image = next(data.to_device(b) for b in data.test_dataloader())["image"]
    y, _ = method.flow.pixels(image, torch.rand_like(image))
    layers: Any = method.flow.layers
    again, _ = layers.inverse(layers(y)[0])
    assert (again - y).abs().max() < 1e-4
    level = (method.reconstruct(image) * 16).round()
    assert torch.equal(level, (image * 16).round())


def test_two_moons_are_learnt_to_their_known_density(tmp_path: Path) -> None:
    """The true density has 1.39 nats; a Gaussian fitted to the points 2.9."""
    torch.manual_seed(0)
    method = small("realnvp_toys", coupling="spline", couplings=4, hidden_dims=[32, 32],
                   optimizer={"name": "adam", "lr": 1e-2, "schedule": "cosine"})  # fmt: skip
    data = Toys("two_moons", size=20_000, held_out=4000, batch_size=256, seed=0)
    found = fitted(method, data, tmp_path, 3)["test/loss"]
    points = torch.cat([b["image"] for b in data.bank_dataloader("test")])
    true = -float(data.log_prob(points).mean())
    assert true - 0.02 < found < true + 0.3


def test_bad_arguments_are_named() -> None:
    for options, words in (
        ({"network": "unet"}, "unknown network 'unet'; choose from residual, mlp"),
        ({"scales": 0}, "scales must be at least 1"),
        ({"scales": 5}, "scales 5: 28 pixels do not halve 4 times"),
        (
            {"coupling": "quadratic"},
            "unknown coupling 'quadratic'; choose from additive, affine, spline",
        ),
        ({"alpha": 0.7}, r"alpha 0\.7"),
    ):
        with pytest.raises(ValueError, match=words):
            RealNVP(1, 28, **options)
