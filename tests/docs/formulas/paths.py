"""Paths from noise to images."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from genlab.methods.flow_matching import FlowMatching
from tests.docs.formulas.common import N, Two, formula, images, step

SIZES: dict[str, Any] = {"image_size": 8, "network": "mlp", "network_kwargs": {"hidden_dims": [16]}}


def draws(batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Dequantised image, noise and time of the step."""
    torch.manual_seed(5)
    cell = torch.rand_like(batch["image"])
    data = 2 * ((255 * batch["image"]).round() + cell) / 256 - 1
    return data, torch.randn_like(data), torch.rand(N, dtype=torch.float64)


@formula("flow_matching")
def _straight() -> Two:
    method, batch = FlowMatching(**SIZES).double(), images()
    data, noise, time = draws(batch)
    t = time.view(N, 1, 1, 1)
    v = method.velocity(t * data + (1 - t) * noise, time)
    return step(method, batch), (v - (data - noise)).square().sum() / N


@formula("flow_matching")
def _variance_preserving() -> Two:
    method, batch = FlowMatching(**SIZES, path="variance_preserving").double(), images()
    data, noise, time = draws(batch)
    angle = math.pi * time.view(N, 1, 1, 1) / 2
    v = method.velocity(angle.sin() * data + angle.cos() * noise, time)
    u = math.pi / 2 * (angle.cos() * data - angle.sin() * noise)
    return step(method, batch), (v - u).square().sum() / N


@formula("flow_matching")
def _transport_within_classes() -> Two:
    options: dict[str, Any] = {"conditional": True, "label_dropout": 0.0, "num_classes": 3}
    method, batch = FlowMatching(**SIZES, pairing="transport", **options).double(), images()
    data, noise, time = draws(batch)
    y = batch["label"]
    orders = [list(o) for o in permutations(range(N)) if y[list(o)].equal(y)]
    noise = noise[min(orders, key=lambda o: float((noise[o] - data).square().sum()))]
    t = time.view(N, 1, 1, 1)
    v = method.velocity(t * data + (1 - t) * noise, time, y)
    return step(method, batch), (v - (data - noise)).square().sum() / N
