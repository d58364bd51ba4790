"""Adaptive gradient clipping."""

from __future__ import annotations

import pytest
import torch

from genlab import optim
from tests.optim.tiny import Tiny, train, weights

SGD = {"name": "torch.sgd", "lr": 1.0}


def test_each_unit_moves_by_at_most_the_factor_of_its_norm_and_the_head_freely() -> None:
    module = Tiny()
    optimizer = optim.build(module, SGD | {"agc": 0.01})
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    for p in module.parameters():
        p.grad = torch.randn_like(p) * 100
    free = module.head.weight.grad.clone()  # type: ignore[union-attr]
    optimizer.step()
    for layer in ("encoder.backbone.0.weight", "encoder.backbone.4.weight"):
        moved = (dict(module.named_parameters())[layer] - before[layer]).norm(dim=1)
        torch.testing.assert_close(moved, 0.01 * before[layer].norm(dim=1))
    torch.testing.assert_close(before["head.weight"] - module.head.weight, free)


def test_a_small_gradient_is_left_as_it_is() -> None:
    module = Tiny()
    optimizer = optim.build(module, SGD | {"agc": 0.01})
    before = weights(module)
    for p in module.parameters():
        p.grad = torch.full_like(p, 1e-7)
    optimizer.step()
    torch.testing.assert_close(before - weights(module), torch.full_like(before, 1e-7), atol=6e-8,
                               rtol=0)  # fmt: skip


@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_clips_under_the_trainer_what_was_accumulated(accumulate: int) -> None:
    """The gradient does not exist yet when the step's hook runs: it must clip in the closure."""
    module, _ = train(SGD | {"agc": 1e-4}, steps=1, accumulate_grad_batches=accumulate)
    free, _ = train(SGD, steps=1, accumulate_grad_batches=accumulate)
    torch.manual_seed(0)
    start = Tiny()
    for layer in (0, 4):
        w = start.encoder.backbone[layer].weight  # type: ignore[index]
        bound = 1e-4 * w.norm(dim=1).clamp(min=1e-3)
        moved = (module.encoder.backbone[layer].weight - w).norm(dim=1)  # type: ignore[index]
        assert (moved <= 1.01 * bound).all()
        assert (moved > 0).any()
    torch.testing.assert_close(module.head.weight, free.head.weight)


def test_it_clips_the_unscaled_gradient_of_a_gradient_scaler() -> None:
    """As Lightning steps in 16-mixed: closure first, unscale, then step without a closure."""
    results = []
    for scale in (1.0, 2.0**10):
        torch.manual_seed(0)
        module = Tiny()
        optimizer = optim.build(module, SGD | {"agc": 0.01})
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        scaler.scale(module.training_step(torch.randn(8, 4), 0)).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        results.append(weights(module))
    torch.testing.assert_close(results[0], results[1])


def clipped_each(norms: list[float], accumulate: int = 1) -> list[float]:
    """Norms of gradients of a given norm after the step's hook."""
    module = Tiny()
    optimizer = optim.build(module, SGD | {"lr": 0.0, "clip_each": 3.0})
    parameters = list(module.parameters())[: len(norms)]
    for p, norm in zip(parameters, norms, strict=True):
        p.grad = torch.ones_like(p) * norm / p.numel() ** 0.5
    optimizer.step()
    return [float(p.grad.norm()) for p in parameters if p.grad is not None]


def test_each_tensor_is_clipped_for_itself() -> None:
    """DI5: the norm of all, which is the Trainer's clipping, would shorten the second one too."""
    assert clipped_each([4.0, 1.0]) == pytest.approx([3.0, 1.0], rel=1e-6)
    both = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    for p, norm in zip(both, (4.0, 1.0), strict=True):
        p.grad = torch.full_like(p, norm)
    torch.nn.utils.clip_grad_norm_(both, 3.0)
    together = [float(p.grad.norm()) for p in both if p.grad is not None]
    assert together == pytest.approx([2.91, 0.73], abs=5e-3)


def test_what_is_accumulated_is_clipped_tensor_by_tensor_under_the_trainer() -> None:
    torch.manual_seed(0)
    start = Tiny()
    module, _ = train(SGD | {"clip_each": 1e-3}, steps=1, accumulate_grad_batches=2)
    for after, before in zip(module.parameters(), start.parameters(), strict=True):
        assert float((after - before).detach().norm()) <= 1.01e-3
    free, _ = train(SGD | {"clip_each": 1e3}, steps=1, accumulate_grad_batches=2)
    plain, _ = train(SGD, steps=1, accumulate_grad_batches=2)
    torch.testing.assert_close(weights(free), weights(plain))
