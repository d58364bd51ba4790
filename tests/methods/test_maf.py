"""MAF and IAF: whitening by the training data, and which direction takes one pass."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genlab.data import Vectors
from genlab.methods.maf import MAF
from genlab.methods.nsf import NSF
from genlab.methods.realnvp import RealNVP
from genlab.networks.flows.masked import MaskedLinear
from tests.callbacks.tiny import trainer
from tests.methods.programs_flows import batch, moved

STILL = {"name": "torch.sgd", "lr": 1e-12}
FLOWS: dict[str, tuple[Any, dict[str, Any]]] = {
    "maf": (MAF, {"steps": 2, "hidden_dims": [8]}),
    "nsf": (NSF, {"steps": 1, "width": 8, "blocks": 1}),
    "realnvp": (RealNVP, {"network": "mlp", "couplings": 2, "hidden_dims": [8]}),
}


@pytest.mark.parametrize("name", FLOWS)
def test_a_whitened_flow_starts_as_the_full_gaussian_of_the_data(name: str, tmp_path: Path) -> None:
    """In the data's units: without the log-determinant of whitening it is 5 log 100 off."""
    torch.manual_seed(0)
    x = (torch.randn(4000, 5) @ torch.randn(5, 5) * 0.01 + 3).numpy()
    np.save(tmp_path / "x.npy", x)
    data = Vectors(str(tmp_path / "x.npy"), batch_size=2000, val_size=500, test_size=1000)
    kind, options = FLOWS[name]
    method = kind(5, 1, **options, whiten=True, preprocess="none", optimizer=STILL)
    run = trainer(tmp_path, max_steps=1)
    run.fit(method, datamodule=data)
    run.test(method, datamodule=data, verbose=False)
    splits = data.splits()
    train, test = (torch.from_numpy(x[splits[part]]).double() for part in ("train", "test"))
    normal = torch.distributions.MultivariateNormal(train.mean(0), train.T.cov())
    expected = -normal.log_prob(test).mean().item()
    assert float(run.callback_metrics["test/loss"]) == pytest.approx(expected, abs=0.05)
    drawn = method.eval().sample(20_000).flatten(1)
    torch.testing.assert_close(drawn.mean(0).double(), train.mean(0), atol=5e-3, rtol=0)
    torch.testing.assert_close(drawn.T.cov().double(), train.T.cov(), atol=5e-5, rtol=0.1)


def test_whitening_requires_a_data_module(tmp_path: Path) -> None:
    method = MAF(2, 1, steps=1, hidden_dims=[4], preprocess="none")
    points: Any = [{"image": torch.randn(4, 2, 1, 1)}]
    loader: Any = torch.utils.data.DataLoader(points, batch_size=None)
    with pytest.raises(ValueError, match="whiten requires a data module"):
        trainer(tmp_path, max_steps=1).fit(method, loader, loader)


@pytest.mark.parametrize(("name", "density", "sampling"), [("maf", 1, 64), ("iaf", 64, 1)])
def test_one_direction_takes_one_pass(name: str, density: int, sampling: int) -> None:
    method = moved(name).eval()
    first = next(m for m in method.modules() if isinstance(m, MaskedLinear))
    calls: list[int] = []
    first.register_forward_hook(lambda *_: calls.append(1))
    method.log_prob(batch(method, 2)["image"])
    assert len(calls) == density
    calls.clear()
    method.sample(3)
    assert len(calls) == sampling


def latents(flow: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    z: torch.Tensor = flow(x[None])[0][0]
    return z


def test_orders_take_turns() -> None:
    """With one layer the first latent knows the first number alone; with two, all of them."""
    for steps, seen in ((1, [0]), (2, list(range(6)))):
        method = MAF(6, 1, steps=steps, hidden_dims=[16], activation="tanh", preprocess="none")
        method = method.double().eval()
        torch.manual_seed(0)
        for p in method.parameters():
            p.data += torch.randn_like(p)
        x = torch.randn(6, 1, 1, dtype=torch.float64)
        flow = method.flow.layers
        slopes = torch.autograd.functional.jacobian(partial(latents, flow), x)
        place = 0 if steps == 1 else 5  # the second layer is reversed
        found = slopes.view(6, 6)[place].nonzero().flatten().tolist()
        assert found == seen


def test_bad_arguments_are_named() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"direction": "back"}, "unknown direction 'back'; choose from density, sampling"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"hidden_dims": []}, "hidden_dims"),
        ({"activation": "cube"}, "unknown activation 'cube'"),
    ]
    for options, words in wrong:
        with pytest.raises(ValueError, match=words):
            MAF(1, 8, **options)
    with pytest.raises(ValueError, match="whiten requires network: mlp"):
        RealNVP(1, 8, whiten=True)
