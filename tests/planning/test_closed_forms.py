"""Arithmetic of plans against formulas on paper, to one per cent."""

from __future__ import annotations

import pytest

from genlab import recipes
from genlab.planning.fake import fake_step
from genlab.planning.step import Step

CLOSE = 0.01
FORWARD_BACKWARD = 3  # times forward: the gradient of inputs, and that of weights


def step(name: str, *words: str) -> Step:
    return fake_step(recipes.resolve([name], list(words)))


def per_image(one: Step, part: str) -> float:
    return one.flops[part] / one.images


def test_the_perceptrons_of_a_vae() -> None:
    one = step("vae/digits")
    first, rest = 64 * 128, 128 * 16  # the images need no gradient
    there = 2 * (FORWARD_BACKWARD * (first + rest) - first)
    assert per_image(one, "encoder") == pytest.approx(there, rel=CLOSE)
    back = 2 * FORWARD_BACKWARD * (8 * 128 + 128 * 64)
    assert per_image(one, "decoder") == pytest.approx(back, rel=CLOSE)


@pytest.mark.slow
def test_the_queue_of_moco() -> None:
    keys, width = 1024, 64
    one = step("moco/digits", "model.symmetric=false")
    forms = 2 * 2 * width * (keys + 1)  # there, and back to the queries alone
    assert per_image(one, "loss") == pytest.approx(forms, rel=CLOSE)


@pytest.mark.slow
def test_resnet50_at_224_pixels() -> None:
    """4.09 G products forward; backward twice that, but for the gradient of the images."""
    one = step("classifier/imagenet_resnet50", "data.batch_size=2", "data.root=nowhere")
    first, head = 7 * 7 * 3 * 64 * 112 * 112, 2048 * 1000
    products = 4.09e9 - head
    expected = 2 * (FORWARD_BACKWARD * products - first)
    assert per_image(one, "encoder") == pytest.approx(expected, rel=CLOSE)


@pytest.mark.slow
def test_vit_small_at_224_pixels() -> None:
    """4.61 G products forward with those of attention, on each of two views."""
    one = step("moco_v3/imagenet_vit_small", "data.batch_size=4", "data.root=nowhere")
    tokens, width, depth = 197, 384, 12
    layers = depth * (12 * width**2 * tokens + 2 * tokens**2 * width)
    patches = 196 * (16 * 16 * 3) * width
    assert layers + patches == pytest.approx(4.61e9, rel=CLOSE)
    forward = 2 * 2 * (layers + patches)
    assert per_image(one, "encoder_ema") == pytest.approx(forward, rel=CLOSE)


@pytest.mark.slow
def test_resnet18_at_32_pixels() -> None:
    """0.56 G products forward, with the stem for small images."""
    one = step("classifier/cifar10_resnet18", "data.batch_size=4")
    first = 3 * 3 * 3 * 64 * 32 * 32
    expected = 2 * (FORWARD_BACKWARD * 0.556e9 - first)
    assert per_image(one, "encoder") == pytest.approx(expected, rel=CLOSE)
