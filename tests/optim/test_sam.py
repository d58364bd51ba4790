"""Sharpness-aware minimisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from genlab import optim
from genlab.optim.sam import ETA
from tests.conftest import TwoRanks
from tests.optim.tiny import Tiny, batches, quiet, train, weights

SGD = {"name": "torch.sgd", "lr": 0.1}


def slow_step(w: Tensor, adaptive: bool, rho: float = 0.3, lr: float = 0.1) -> Tensor:
    """One step on f(w) = sum(w^4), written out."""
    g = 4 * w**3
    t = w.abs() + ETA if adaptive else torch.ones_like(w)
    e = rho * t**2 * g / (t * g).norm()
    return w - lr * 4 * (w + e) ** 3


class Quartic(Tiny):
    def __init__(self) -> None:
        super().__init__()
        del self.encoder, self.head
        self.net = torch.nn.ParameterList([torch.tensor([1.0, -0.5]), torch.tensor([[0.2], [2]])])

    def loss(self) -> Tensor:
        return sum(((p**4).sum() for p in self.net), torch.zeros(()))


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("name", ["torch.sgd", "lookahead_momentum"])
def test_a_step_is_that_of_the_paper_whatever_the_optimiser(name: str, adaptive: bool) -> None:
    module = Quartic()
    optimizer = optim.build(module, {"name": name, "lr": 0.1, "sam": 0.3, "sam_adaptive": adaptive})
    calls = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = module.loss()
        loss.backward()
        calls.append(float(loss.detach()))
        return loss

    expected = slow_step(weights(module).double(), adaptive).float()
    loss: Any = optimizer.step(closure)  # type: ignore[arg-type]
    torch.testing.assert_close(weights(module), expected)
    assert len(calls) == 2
    assert calls[1] > calls[0] == float(loss.detach())


def test_it_trains_and_differs_from_the_optimiser_alone() -> None:
    sharp, _ = train(SGD | {"sam": 0.05})
    plain, _ = train(SGD)
    none, _ = train(SGD | {"sam": 1e-12})
    assert len(sharp.seen) == 8
    assert (weights(sharp) - weights(plain)).abs().max() > 1e-4
    torch.testing.assert_close(weights(none), weights(plain), rtol=0, atol=1e-6)


def test_both_passes_see_the_same_noise_and_the_statistics_move_once() -> None:
    module, _ = train(SGD | {"sam": 1e-12}, steps=2, dropout=0.5)
    first, second, third, _ = module.seen
    torch.testing.assert_close(first, second, rtol=0, atol=1e-5)
    assert (first - third).abs().max() > 1e-2
    assert int(module.encoder.backbone[1].num_batches_tracked) == 2  # type: ignore[index]
    plain, _ = train(SGD, steps=1)
    sharp, _ = train(SGD | {"sam": 0.5}, steps=1)
    for a, b in zip(sharp.buffers(), plain.buffers(), strict=True):
        assert torch.equal(a, b)


def test_after_a_step_the_generator_is_where_one_pass_leaves_it() -> None:
    states = []
    for settings in (SGD, SGD | {"sam": 0.1}):
        train(settings, steps=3, dropout=0.5)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


class Save(L.Callback):
    def __init__(self, file: Path) -> None:
        self.file = file

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.file)


def test_a_step_that_ends_at_the_second_pass_leaves_the_weights() -> None:
    module = Quartic()
    optimizer = optim.build(module, SGD | {"sam": 0.3})
    before, calls = [p.detach().clone() for p in module.parameters()], list[int]()

    def closure() -> Tensor:
        loss = module.loss()
        loss.backward()
        calls.append(1)
        if len(calls) == 2:
            raise ArithmeticError
        return loss

    with pytest.raises(ArithmeticError):
        optimizer.step(closure)  # type: ignore[arg-type]
    after = [p.detach() for p in module.parameters()]
    torch.testing.assert_close(after, before, rtol=0, atol=0)


def test_resumed_is_straight_bit_for_bit(tmp_path: Path) -> None:
    """Two epochs of two steps; SAM keeps nothing between steps that a checkpoint would lack."""
    settings = {"name": "adamw", "lr": 0.01, "sam": 0.1, "schedule": "onecycle", "agc": 0.1}
    file, epochs = tmp_path / "first.ckpt", {"max_epochs": 2, "limit_train_batches": 2}
    straight, trainer = train(settings, -1, callbacks=[Save(file)], **epochs)
    assert trainer.global_step == 4
    resumed = Tiny(settings)
    quiet(**epochs).fit(resumed, batches(), ckpt_path=str(file), weights_only=True)
    assert torch.equal(weights(resumed), weights(straight))
    assert len(resumed.seen) == 4


def test_what_would_go_wrong_is_refused() -> None:
    settings = SGD | {"sam": 0.1}
    with pytest.raises(ValueError, match=r"requires trainer\.accumulate_grad_batches=1"):
        train(settings, accumulate_grad_batches=2)
    scaled: Any = type("T", (), {"precision_plugin": type("P", (), {"scaler": object()})()})()
    with pytest.raises(ValueError, match="use bf16-mixed"):
        optim.check(settings, trainer=scaled)
    with pytest.raises(ValueError, match="need a closure"):
        optim.build(Tiny(), settings).step()
    with pytest.raises(ValueError, match="sam_adaptive requires"):
        optim.check({"sam_adaptive": True})


@pytest.mark.ddp
def test_two_ranks_climb_the_mean_gradient(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.optim.programs:sam_steps", atol=1e-6)
