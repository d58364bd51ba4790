"""Paths from noise to images."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from genlab.methods.diffusion import Diffusion
from genlab.methods.ffjord import FFJORD
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


def denoised(schedule: str) -> Two:
    """The weighted error of D, made of the network F by the page's factors."""
    method, batch = Diffusion(**SIZES, schedule=schedule, sigma_data=0.6).double(), images()
    torch.manual_seed(5)
    cell = torch.rand_like(batch["image"])
    y = 2 * ((255 * batch["image"]).round() + cell) / 256 - 1
    place = torch.rand(N, dtype=torch.float64)
    if schedule == "edm":
        level = (-1.2 + 1.2 * math.sqrt(2) * torch.erfinv(2 * place - 1)).exp()
    else:
        time = torch.arange(1001, dtype=torch.float64) / 1000
        kept = ((time + 0.008) / 1.008 * math.pi / 2).cos() ** 2
        beta = (1 - kept[1:] / kept[:-1]).clamp(max=0.999)
        kept = (1 - beta).cumprod(0)[(1000 * place).long()]
        level = ((1 - kept) / kept).sqrt()
    s, total = level.view(N, 1, 1, 1), (level**2 + 0.36).view(N, 1, 1, 1)
    x = y + s * torch.randn_like(y)
    network: Any = method.denoiser.network
    seen = network(x / total.sqrt(), level.log() / 4)
    clean = 0.36 / total * x + s * 0.6 / total.sqrt() * seen
    weight = 1 / s**2 + (1 / 0.36 if schedule == "edm" else 0)
    return step(method, batch), (weight * (clean - y) ** 2).sum() / N


@formula("diffusion")
def _edm() -> Two:
    return denoised("edm")


@formula("diffusion")
def _cosine() -> Two:
    return denoised("cosine")


@formula("ffjord")
def _change_of_variables() -> Two:
    """By the Jacobian of the map to the noise, in fine steps of another solver."""
    options: dict[str, Any] = {"probes": 0, "solver": "rk4", "solver_steps": 12, "image_size": 2}
    kwargs = {"hidden_dims": [6]}
    method = FFJORD(**options, preprocess="unit", network_kwargs=kwargs).double()
    batch = images()
    batch["image"] = batch["image"][..., :2, :2].contiguous()
    torch.manual_seed(5)
    cell = torch.rand_like(batch["image"])
    x1 = (((255 * batch["image"]).round() + cell) / 256).flatten(1)

    def noise(x: Tensor) -> Tensor:
        y, h = x.view(1, 1, 2, 2), 1 / 240
        for k in range(240):  # the midpoint rule, from 1 to 0
            t = torch.full((1,), 1 - k * h, dtype=torch.float64)
            y = y - h * method.velocity(y - h / 2 * method.velocity(y, t), t - h / 2)
        return y.flatten()

    total = torch.zeros((), dtype=torch.float64)
    for x in x1:
        slopes: Any = torch.autograd.functional.jacobian(noise, x)
        normal = -0.5 * (noise(x).square() + math.log(2 * math.pi)).sum()
        total = total - normal - slopes.slogdet().logabsdet + 4 * math.log(256)
    return step(method, batch), (total / N).detach()
