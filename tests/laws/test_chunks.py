"""Every method with ``chunks`` has the gradient of the whole batch, in the memory of one chunk."""

from __future__ import annotations

import copy
import inspect
import os
import time
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import lightning as L
import pytest
import torch
from torch import Tensor

from genlab import recipes, testing
from genlab.data import Digits
from genlab.planning.counting import Counting
from genlab.planning.watching import tensors
from genlab.testing.tiny import VIT, tiny
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer
from tests.conftest import Here

SMALLEST = testing.smallest()
CHUNKED = {
    kind: str(recipe)
    for kind, recipe in SMALLEST.items()
    if "chunks" in (recipes.parameters("model", recipes.classes("methods")[kind]) or ())
}


@lru_cache
def batch_of(recipe: str) -> dict[str, Any]:
    """A batch of digits as the method gets it."""
    return dict(testing.case([recipe]).batches[0])


def larger(batch: dict[str, Any], images: int) -> dict[str, Any]:
    """A batch of as many images, each with some noise of its own."""
    noise = torch.Generator().manual_seed(2)

    def repeated(x: Any) -> Any:
        if isinstance(x, list | tuple):
            return [repeated(one) for one in x]
        if not isinstance(x, Tensor) or not x.ndim:
            return x
        rows = x.repeat(-(-images // len(x)), *[1] * (x.ndim - 1))[:images]
        if not rows.is_floating_point():
            return rows
        return (rows + 0.2 * torch.rand(rows.shape, generator=noise)).clamp(0, 1)

    return {name: repeated(value) for name, value in batch.items()}


def built(kind: str, normed: bool = False, **options: Any) -> Any:
    """The method of the smallest recipe, tiny, always with the same weights.

    Args:
        kind: name of the class.
        normed: True for batch norm in the networks; else they have none.
        options: arguments of the constructor.
    """
    arguments = tiny(recipes.resolve([CHUNKED[kind]])).arguments("model")
    takes = recipes.parameters("model", recipes.classes("methods")[kind]) or ()
    if not normed:
        arguments |= copy.deepcopy(VIT)
        arguments |= {name: "layer" for name in takes if name in ("projector_norm", "head_norm")}
    torch.manual_seed(1)
    made = recipes.load_class(recipes.classes("methods")[kind], object)
    return made(**arguments | {"channels": 1, "image_size": 8} | options)


def gradient(method: Any, batch: dict[str, Any], kind: torch.dtype = torch.float64) -> Tensor:
    """Of all trained parameters, after one step."""
    method.to(kind)
    given = {n: [v.to(kind) for v in x] if n == "views" else x for n, x in batch.items()}
    torch.manual_seed(3)
    method.training_step(given, 0)["loss"].backward()
    return torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_the_methods_of_the_whole_batch_have_chunks() -> None:
    named = {"SimCLR", "MoCoV3", "BarlowTwins", "VICReg", "SwAV", "NNCLR", "LeJEPA", "SupCon"}
    assert named <= set(CHUNKED)


@pytest.mark.parametrize("kind", CHUNKED)
def test_chunks_change_no_gradient(kind: str) -> None:
    """42 images in chunks of 11, 11, 10 and 10."""
    batch = batch_of(CHUNKED[kind])
    found, expected = (gradient(built(kind, chunks=k), batch) for k in (4, 1))
    assert distance(found, expected) < 1e-12


@pytest.mark.parametrize("kind", CHUNKED)
def test_what_moves_with_a_step_moves_once(kind: str) -> None:
    """G6: queue and pointer, momentum copies, prototypes; directions are drawn once."""
    batch, ends = batch_of(CHUNKED[kind]), list[dict[str, Tensor]]()
    for chunks in (4, 1):
        method = built(kind, chunks=chunks)
        start = copy.deepcopy(method.state_dict())
        if hasattr(method, "directions"):
            method.directions = Mock(wraps=method.directions)
        gradient(method, batch)
        with torch.no_grad():
            for parameter in method.parameters():
                if parameter.grad is not None:
                    parameter.sub_(0.1 * parameter.grad)
        if hasattr(method, "after_step"):
            takes = inspect.signature(method.after_step).parameters
            method.after_step(*(0, 10)[: len(takes)])
        if hasattr(method, "directions"):
            assert method.directions.call_count == 1
        ends.append(method.state_dict())
        assert any(not torch.equal(start[name].to(x), x) for name, x in ends[-1].items())
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-10)
    pointers = [int(x) for name, x in ends[0].items() if name.endswith("pointer")]
    assert all(pointer == len(batch["views"][0]) for pointer in pointers)
    assert bool(pointers) == (kind in ("NNCLR", "MoCo"))


@pytest.mark.parametrize("kind", CHUNKED)
def test_batch_norm_in_groups_is_the_chunks_and_moves_once(kind: str) -> None:
    batch = batch_of(CHUNKED[kind])
    with pytest.raises(ValueError, match="chunks 3 cannot be combined with batch norm"):
        built(kind, normed=True, chunks=3)
    parts, whole = (built(kind, normed=True, bn_splits=3, chunks=k) for k in (3, 1))
    assert distance(gradient(parts, batch), gradient(whole, batch)) < 1e-11
    torch.testing.assert_close(parts.state_dict(), whole.state_dict(), rtol=0, atol=1e-12)


class Course(L.Callback):
    """Rate, steps and weights after each batch of a training, and what the encoder was given."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []
        self.course: list[tuple[int, float, dict[str, Tensor]]] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        pl_module.encoder.register_forward_pre_hook(lambda _, given: self.seen.append(given[0]))

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        state = {name: x.clone() for name, x in pl_module.state_dict().items()}
        self.course.append((trainer.global_step, rate, state))


def trained(chunks: int, folder: Path) -> Course:
    """Four batches, two to a step, with a clipped norm and a rate that changes."""
    course = Course()
    method = built(
        "MoCoV3", chunks=chunks, ema_decay=0.5,
        optimizer={"name": "torch.sgd", "lr": 0.5, "schedule": "cosine", "warmup_steps": 1},
    )  # fmt: skip
    assert method.automatic_optimization
    data = Digits(batch_size=32, limit=64, val_size=100, seed=3, views="simclr")
    options: dict[str, Any] = {"gradient_clip_val": 0.05, "precision": "64-true"}
    options |= {"accumulate_grad_batches": 2, "limit_val_batches": 0, "max_epochs": 1}
    run = trainer(folder, Reseed(), course, **options)
    run.fit(method, datamodule=data)
    return course


def test_a_training_in_chunks_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    """G7, G8: views are held and not drawn anew; steps, rates and momentum copy are Lightning's."""
    parts, whole = (trained(chunks, tmp_path / str(chunks)) for chunks in (2, 1))
    assert [step for step, _, _ in whole.course] == [0, 1, 1, 2]
    for (step, rate, state), (other, same, expected) in zip(
        parts.course, whole.course, strict=True
    ):
        assert (step, rate) == (other, same)
        torch.testing.assert_close(state, expected, rtol=0, atol=1e-7)
    (*_, first), (*_, last) = whole.course[0], whole.course[-1]
    for name in ("projector.0.weight", "projector_ema.0.weight"):
        assert float((last[name] - first[name]).norm()) > 1e-4
    views = parts.seen[:8]  # of a batch: two chunks of either view, and again from the last one
    for k, view in enumerate(views[:4]):
        assert sum(torch.equal(view, other) for other in views[4:]) == 1, k
        assert not any(torch.equal(view, other) for other in views[:k])


@pytest.mark.parametrize(("name", "warned"), [("simclr", True), ("byol", False)])
def test_accumulated_batches_of_such_methods_are_warned_of(
    name: str, warned: bool, here: Here
) -> None:
    words = ("trainer.accumulate_grad_batches=2", "trainer.max_steps=1", "track.wandb=off")
    _, err = here("fit", f"{name}/digits", *words)
    assert err.count("an accumulated part is a smaller batch; model.chunks divides") == warned


@pytest.mark.slow
@pytest.mark.parametrize(("kind_", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("kind", CHUNKED)
def test_four_times_64_is_256(kind: str, kind_: torch.dtype, bound: float) -> None:
    batch = larger(batch_of(CHUNKED[kind]), 256)
    found, expected = (gradient(built(kind, chunks=k), batch, kind_) for k in (4, 1))
    assert distance(found, expected) < bound


@pytest.mark.slow
@pytest.mark.parametrize("kind", CHUNKED)
def test_the_memory_of_256_in_four_is_that_of_64(kind: str) -> None:
    """Of activations at the peak; images, weights and their gradients aside."""

    def peak(images: int, chunks: int) -> int:
        wide = {"embed_dim": 64, "depth": 3, "num_heads": 2, "patch_size": 2}  # beside the loss
        method = built(kind, chunks=chunks, encoder_kwargs=wide)
        batch = larger(batch_of(CHUNKED[kind]), images)
        with Counting() as count:
            count.see_all(tensors(batch), "batch")
            count.see_all(method.parameters(), "parameters")
            for weight in (p for p in method.parameters() if p.requires_grad):
                weight.register_hook(lambda grad: count.see(grad, "gradients"))
            method.training_step(batch, 0)["loss"].backward()
        return count.peak["activations"] + count.peak.get("temporary", 0)

    assert peak(256, 4) < 1.1 * peak(64, 1)
    assert peak(256, 1) > 3 * peak(64, 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", CHUNKED)
def test_chunks_on_two_processes_are_those_of_one(kind: str, ranks: testing.Ranks) -> None:
    takes = recipes.parameters("model", recipes.classes("methods")[kind]) or ()
    norms = [f"model.{name}=layer" for name in takes if name in ("projector_norm", "head_norm")]
    words = [*norms, "model.encoder=vit_tiny_patch16_224", "model.chunks=3"]
    case = testing.case([CHUNKED[kind]], words, (2,))
    assert case.method.chunks == 3
    for law in ("processes", "gradients", "resume"):
        finding = testing.judge(case, law, ranks)
        assert finding.passed, finding


@pytest.mark.slow
@pytest.mark.skipif(os.getloadavg()[0] > 2, reason="a busy machine: the load is above 2")
@pytest.mark.parametrize("kind", CHUNKED)
def test_chunks_cost_one_more_pass(kind: str) -> None:
    """256 in four against 256 at once, in turn: at most 1.45 times the processor's time."""
    wide = {"embed_dim": 64, "depth": 3, "num_heads": 2, "patch_size": 2}
    methods = [built(kind, chunks=chunks, encoder_kwargs=wide) for chunks in (4, 1)]
    batch = larger(batch_of(CHUNKED[kind]), 256)
    spent: list[list[float]] = [[], []]
    for _ in range(7):
        for method, times in zip(methods, spent, strict=True):
            start = time.process_time()
            method.training_step(batch, 0)["loss"].backward()
            times.append(time.process_time() - start)
    parts, whole = (min(times[1:]) for times in spent)  # the first of each warms up
    assert parts < 1.45 * whole
