"""Inpainting: what is hidden, what counts, and whom the critic moves. Laws: tests/laws."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from genlab.contracts import Batch
from genlab.data import CIFAR10, MNIST, Digits, Images
from genlab.methods.inpainting import Inpainting
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer
from tests.methods.programs_ssl import CNN, same_state
from tests.methods.shortcuts import held_out

SMALL: dict[str, Any] = CNN | {"decoder_width": 4, "critic_width": 4}


def small(**options: Any) -> Inpainting:
    torch.manual_seed(1)
    return Inpainting(**SMALL | options)


def batch(n: int = 4, seed: int = 5) -> Batch:
    image = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    found = {"image": image, "index": torch.arange(n), "label": torch.zeros(n), "seed": seed}
    return cast(Batch, found)


def test_outside_the_hole_nothing_counts_nor_pulls() -> None:
    """IP1."""
    method = small(place="random")
    _, box = method.ask(batch())
    told = torch.rand(4, 1, 8, 8, requires_grad=True)
    method._error(told, batch()["image"], box).backward()
    assert told.grad is not None
    for b, (top, left, tall, wide) in enumerate(box.tolist()):
        pull = told.grad[b, 0].clone()
        assert bool((pull[top : top + tall, left : left + wide] != 0).all())
        pull[top : top + tall, left : left + wide] = 0
        assert float(pull.abs().sum()) == 0


def test_the_ring_is_visible_to_the_encoder() -> None:
    """IP2."""
    method, image = small(overlap=1), batch()["image"]
    shown, box = method.ask(batch())
    assert box.tolist() == 4 * [[2, 2, 4, 4]]
    hidden = (shown != image).flatten(1)
    inner = torch.zeros(8, 8, dtype=torch.bool)
    inner[3:5, 3:5] = True
    assert torch.equal(hidden, inner.flatten().expand(4, -1))


def test_what_is_hidden_does_not_reach_the_answer() -> None:
    method, given = small().eval(), batch()
    told = method.answer(method.ask(given)[0])
    given["image"][..., 3:5, 3:5] = 0.0
    assert torch.equal(method.answer(method.ask(given)[0]), told)


def test_random_holes_belong_to_the_seed_and_in_validation_to_the_image() -> None:
    method = small(place="random")
    one, same, other = (method.ask(batch(seed=seed))[1] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    method.eval()
    assert torch.equal(method.ask(batch(seed=1))[1], method.ask(batch(seed=2))[1])


def test_the_critic_and_the_decoder_each_have_their_own_gradient() -> None:
    method = small(adversarial_weight=0.5, overlap=0)
    found = method.training_step(batch(), 0)
    critic, decoder = (list(part.parameters()) for part in (method.critic, method.decoder))  # type: ignore[union-attr]
    rest = found["loss"] - found["loss_critic"]
    for parts, total in ((critic, rest), (decoder, found["loss_critic"])):
        pulls = torch.autograd.grad(total, parts, retain_graph=True, allow_unused=True)
        assert all(pull is None or not bool(pull.any()) for pull in pulls)
    pulls = torch.autograd.grad(found["loss_generator"], decoder)
    assert all(bool(pull.any()) for pull in pulls)


def test_training_beats_the_mean_and_its_state_holds_both_networks(tmp_path: Path) -> None:
    method = small(
        adversarial_weight=0.001, overlap=0, decoder_width=16,
        optimizer={"name": "adamw", "lr": 0.01},
    )  # fmt: skip
    before = {name: value.clone() for name, value in method.state_dict().items()}
    run = trainer(tmp_path, max_epochs=8)
    run.fit(method, datamodule=Digits(batch_size=64, val_size=200))
    assert float(run.callback_metrics["val/psnr_gain"]) > 1
    moved = {name.partition(".")[0] for name in same_state(before, method.state_dict())}
    assert moved == {"encoder", "decoder", "critic"}
    held = {id(p) for group in run.optimizers[0].param_groups for p in group["params"]}
    assert held == {id(p) for p in method.parameters()}


def test_critic_and_decoder_step_together_and_a_resumed_run_is_the_straight_one(
    tmp_path: Path,
) -> None:
    """IP4: one optimiser counts the steps of both, and its state holds both."""
    ends, counts = list[dict[str, Any]](), list[set[int]]()
    start = tmp_path / "straight/checkpoints/step-00000003.ckpt"
    for folder, saved in (("straight", None), ("resumed", start)):
        method = small(adversarial_weight=0.1, optimizer={"name": "adamw", "lr": 0.01})
        data = Digits(batch_size=32, limit=128, val_size=100, seed=3)
        options: dict[str, Any] = {"accumulate_grad_batches": 2, "limit_val_batches": 0}
        keep = Checkpoints(None, keep_every_n_steps=1)
        run = trainer(tmp_path / folder, Reseed(), keep, max_epochs=2, **options)
        run.fit(method, datamodule=data, ckpt_path=saved, weights_only=True if saved else None)
        ends.append(dict(method.state_dict()))
        (optimizer,) = run.optimizers
        steps = [state["step"] for state in optimizer.state.values()]
        assert len(steps) == len(list(method.parameters()))
        counts.append({int(step) for step in steps})
    assert counts == [{8}, {8}]
    assert same_state(*ends) == []


def test_pictures_close_the_hole_and_keep_the_rest() -> None:
    shown = small().eval().task_pictures(batch())
    outside = torch.ones(8, 8, dtype=torch.bool)
    outside[2:6, 2:6] = False
    assert torch.equal(shown["output"][..., outside], shown["target"][..., outside])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"place": "left"}, "unknown place 'left'; choose from centre, random"),
        ({"adversarial_weight": 1.0}, r"adversarial_weight 1.0 must be in 0 \.\.\. 1"),
        ({"overlap": -1}, "overlap and overlap_weight must be at least 0"),
        ({"overlap": 2}, "a hole of 4 px of 8 requires 2 px or more inside its ring of 2"),
        ({"hole": 1.0}, "and 2 px around it"),
    ],
)
def test_bad_input_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "options", "variance"),
    [
        (Digits, {"val_size": 200}, 0.148),
        pytest.param(CIFAR10, {"download": False}, 0.0549, marks=pytest.mark.slow),
        pytest.param(MNIST, {"download": False}, 0.1678, marks=pytest.mark.slow),
    ],
)
def test_the_baseline_is_the_mean_of_what_each_image_shows(
    kind: type[Images], options: dict[str, Any], variance: float
) -> None:
    """IP5: its error is above the variance of the hole, which no constant for all is below."""
    try:
        image = held_out(kind(**options), 1000)
    except ValueError as error:
        pytest.skip(str(error))
    channels, side = image.shape[1:3]
    method = small(channels=channels, image_size=side, overlap=0, adversarial_weight=0.0).eval()
    for first in range(0, len(image), 250):
        part = image[first : first + 250]
        given = {"image": part, "index": torch.arange(len(part)), "label": torch.zeros(len(part))}
        with torch.no_grad():
            method.validation_step(cast(Batch, given), 0)
    found = 10 ** (-float(method.image_error.compute()["psnr_baseline"]) / 10)
    hole = np.zeros((side, side), dtype=bool)
    hole[side // 4 : side - side // 4, side // 4 : side - side // 4] = True
    errors = [
        np.square(colour[hole] - colour[~hole].mean()).mean()
        for one in image.double().numpy()
        for colour in one
    ]
    assert found == pytest.approx(np.mean(errors), rel=1e-4)
    assert found > 0.98 * variance
    assert found < 2 * variance
