"""Fake steps: what is counted, at any number of devices, and that nothing is read."""

from __future__ import annotations

import sys

import pytest

from genlab import distributed, recipes
from genlab.errors import RecipeError
from genlab.planning.fake import fake_step
from genlab.planning.step import Step


def step(name: str, *words: str, world: int = 1) -> Step:
    return fake_step(recipes.resolve([name], list(words)), world)


def test_memory_and_arithmetic_of_a_simple_recipe_by_hand() -> None:
    one = step("simclr/digits")
    parameters = one.memory["parameters"]
    assert one.memory["optimiser state"] >= 2 * parameters  # Adam's two moments
    assert one.memory["gradients"] == parameters
    assert one.images == 128
    assert set(one.flops) == {"encoder", "projector", "loss", "callbacks", "optimiser"}
    logits = 2 * 256 * 256 * 64  # of NT-Xent: 2N x 2N products of D = 64
    assert one.flops["loss"] == pytest.approx(3 * logits, rel=0.01)  # backward: two more


def test_devices_share_the_batch_and_exchange_embeddings_and_gradients() -> None:
    one, eight = step("simclr/digits"), step("simclr/digits", world=8)
    assert eight.images == one.images / 8
    assert eight.memory["activations"] < one.memory["activations"] / 4
    found = {c.name: c for c in eight.collectives}
    assert found["gradients"].bytes == one.memory["gradients"]
    gathered = found["losses.contrastive.nt_xent"]
    assert (gathered.kind, gathered.bytes) == ("all_gather", 2 * 16 * 64 * 4)
    back = found["losses.contrastive.nt_xent, gradient"]
    assert (back.kind, back.bytes) == ("all_reduce", 8 * gathered.bytes)


def test_nothing_of_a_pretended_group_stays() -> None:
    hook = sys.excepthook
    with distributed.pretended(4, rank=3):
        assert (distributed.rank(), distributed.world_size()) == (3, 4)
    with pytest.raises(ZeroDivisionError), distributed.pretended(4):
        _ = 1 / 0
    assert not distributed.active()
    assert sys.excepthook is hook


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(
        RecipeError, match="batch_size 128 is global: it must be divisible by 3 devices"
    ):
        step("simclr/digits", world=3)


def test_data_that_are_elsewhere_are_not_asked_for() -> None:
    words = "data.batch_size=8", "data.root=nowhere/imagenet", "model.encoder=resnet18"
    assert step("simclr/imagenet_resnet50", *words).images == 8


@pytest.mark.slow
def test_synchronised_batch_norms_exchange_statistics_both_ways() -> None:
    words = "data.batch_size=64", "trainer.sync_batchnorm=true"
    found = {c.name: c for c in step("simclr/digits", *words, world=8).collectives}
    there, back = found["batch norm"], found["batch norm, gradient"]
    assert there.calls == back.calls > 0
    assert there.bytes - back.bytes == 4 * there.calls  # the count
    plain = step("simclr/digits", "data.batch_size=64", world=8)
    assert "batch norm" not in {c.name for c in plain.collectives}


def test_chunks_need_less_memory_and_one_more_pass() -> None:
    sizes = "model.encoder_kwargs={patch_size: 2, depth: 2, embed_dim: 48}"
    words = ["model.projector_norm=layer", "model.encoder=vit_tiny_patch16_224", sizes]
    words += ["trainer.precision=bf16-mixed"]
    whole, parts = (step("simclr/digits", *words, f"model.chunks={chunks}") for chunks in (1, 4))
    assert of_batch(parts) < 0.5 * of_batch(whole)
    assert 1.3 < parts.flops["encoder"] / whole.flops["encoder"] < 1.4


def of_batch(step: Step) -> int:
    return sum(step.memory.get(name, 0) for name in ("activations", "temporary"))
