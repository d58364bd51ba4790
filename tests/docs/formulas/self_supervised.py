"""Losses of two views, or more."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab.methods.barlow_twins import BarlowTwins
from genlab.methods.dino import DINO
from genlab.methods.dinov2 import DINOv2
from genlab.methods.lejepa import LeJEPA
from genlab.methods.vicreg import VICReg
from tests.docs.formulas.common import N, Two, formula, step, unit
from tests.methods import programs_ssl as ssl


def views() -> dict[str, Any]:
    return {"views": [view.double() for view in ssl.pairs(N)[0]["views"]]}


@formula("barlow_twins")
def _correlations() -> Two:
    method, batch = BarlowTwins(**ssl.CNN, projector_dims=[12, 6]).double(), views()
    z1, z2 = (method.embed(view) for view in batch["views"])
    z1, z2 = ((z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt() for z in (z1, z2))
    loss = torch.zeros((), dtype=torch.float64)
    for i in range(6):
        for j in range(6):
            c = (z1[:, i] * z2[:, j]).sum() / N
            loss = loss + ((1 - c) ** 2 if i == j else method.off_diagonal_weight * c**2)
    return step(method, batch), loss


@formula("vicreg")
def _covariances() -> Two:
    weights: dict[str, Any] = {
        "variance_weight": 3.0,
        "invariance_weight": 2.0,
        "covariance_weight": 5.0,
    }
    method, batch = VICReg(**ssl.CNN, projector_dims=[12, 6], **weights).double(), views()
    z1, z2 = (method.embed(view) for view in batch["views"])
    loss = 2.0 * (z1 - z2).square().sum() / (N * 6)
    for z in (z1, z2):
        centred = z - z.sum(0) / N
        for i in range(6):
            c = (centred[:, i, None] * centred).sum(0) / (N - 1)
            loss = loss + 3.0 * (1 - (c[i] + 1e-4).sqrt()).clamp(min=0) / 6 / 2
            others = torch.cat([c[:i], c[i + 1 :]])
            loss = loss + 5.0 * others.square().sum() / 6
    return step(method, batch), loss


def sigreg(z: Tensor, u: Tensor, first: float, last: float) -> Tensor:
    """The page's integral by 17 points from ``first`` to ``last``."""
    width, loss = (last - first) / 16, torch.zeros((), dtype=torch.float64)
    for k in range(17):
        t = first + k * width
        share = width / 2 if k in (0, 16) else width
        for m in range(u.shape[1]):
            normal = torch.tensor(-t * t / 2).double().exp()
            apart = (1j * t * (z @ u[:, m])).exp().mean() - normal
            loss = loss + share * apart.abs().square() * normal
    return len(z) / u.shape[1] * loss


def lejepa(grid: str, ends: tuple[float, float], times: int) -> Two:
    """Two large views and a small one, which is no part of the mean."""
    torch.manual_seed(1)
    options: dict[str, Any] = {"projector_dims": [12, 6], "directions": 8, "sigreg_weight": 0.3}
    method, batch = LeJEPA(**ssl.CNN, **options, grid=grid).double().eval(), views() | {"seed": 3}
    batch["views"].append(batch["views"][0][..., 2:6, 2:6])
    z = [method.embed(view) for view in batch["views"]]
    u, mean = method.directions({"seed": 3}, z[0].device).double(), (z[0] + z[1]) / 2
    apart = torch.stack([(mean - one).square().sum() for one in z]).sum() / (3 * N * 6)
    gaussian = torch.stack([times * sigreg(one, u, *ends) for one in z]).sum() / 3
    return step(method, batch), 0.7 * apart + 0.3 * gaussian


@formula("lejepa")
def _half_grid_twice() -> Two:
    return lejepa("repository", (0.0, 3.0), 2)


@formula("lejepa")
def _whole_grid() -> Two:
    return lejepa("paper", (-5.0, 5.0), 1)


@formula("byol")
def _distance() -> Two:
    method, batch = ssl.small("byol").double(), views()
    p1, p2 = (method.predictor(method.embed(view)) for view in batch["views"])
    t1, t2 = (method.target(view) for view in batch["views"])
    each = [(unit(p) - unit(t)).square().sum(1).mean() for p, t in ((p1, t2), (p2, t1))]
    return step(method, batch), each[0] + each[1]


@formula("simsiam")
def _cosines() -> Two:
    method, batch = ssl.small("simsiam").double(), views()
    z1, z2 = (method.embed(view) for view in batch["views"])
    p1, p2 = method.predictor(z1), method.predictor(z2)
    cosines = (unit(p1) * unit(z2)).sum(1) + (unit(p2) * unit(z1)).sum(1)
    return step(method, batch), -cosines.mean() / 2


@formula("simclr")
def _partners() -> Two:
    method, batch = ssl.small("simclr").double(), views()
    z = unit(method.embed(torch.cat(batch["views"])))
    loss = torch.zeros((), dtype=torch.float64)
    for i in range(2 * N):
        terms = torch.stack([(z[i] @ z[k] / method.temperature).exp() for k in range(2 * N)])
        others = torch.cat([terms[:i], terms[i + 1 :]])
        loss = loss - (terms[(i + N) % (2 * N)] / others.sum()).log() / (2 * N)
    return step(method, batch), loss


def queue_loss(q: Tensor, k: Tensor, queue: Tensor, temperature: float) -> Tensor:
    positive = ((q * k).sum(1) / temperature).exp()
    return -(positive / (positive + (q @ queue.T / temperature).exp().sum(1))).log().mean()


@formula("moco")
def _queue() -> Two:
    method, batch = ssl.small("moco").double(), views()
    view1, view2 = batch["views"]
    rest = method.queue.keys.clone(), method.temperature
    return step(method, batch), queue_loss(unit(method.embed(view1)), method.key(view2), *rest)


@formula("moco")
def _symmetric() -> Two:
    method, batch = ssl.small("moco_symmetric").double(), views()
    (q1, q2), (k1, k2) = ([f(v) for v in batch["views"]] for f in (method.embed, method.key))
    rest = method.queue.keys.clone(), method.temperature
    both = queue_loss(unit(q1), k2, *rest) + queue_loss(unit(q2), k1, *rest)
    return step(method, batch), both


@formula("moco_v3")
def _in_batch() -> Two:
    method, batch = ssl.small("moco_v3").double(), views()
    q1, q2 = (unit(method.predictor(method.embed(view))) for view in batch["views"])
    k1, k2 = (unit(method.key(view)) for view in batch["views"])
    tau, loss = method.temperature, torch.zeros((), dtype=torch.float64)
    for q, k in ((q1, k2), (q2, k1)):
        for i in range(N):
            share = (q[i] @ k[i] / tau).exp() / (q[i] @ k.T / tau).exp().sum()
            loss = loss - 2 * tau / N * share.log()
    return step(method, batch), loss


@formula("dino")
def _pairs_of_views() -> Two:
    method, batch = DINO(**ssl.CNN, projector_dims=[12, 6], prototypes=5).double(), views()
    method.centre += torch.linspace(-0.1, 0.1, 5)
    both, centre = torch.cat(batch["views"]), method.centre.clone()
    taught = method.teach(both).chunk(2)
    scores = method.prototypes(method.embed(both)).chunk(2)
    loss = torch.zeros((), dtype=torch.float64)
    for i, v in ((0, 1), (1, 0)):
        for t, s in zip(taught[i], scores[v], strict=True):
            q = ((t - centre) / method.teacher_temperature).exp()
            p = (s / method.temperature).exp()
            loss = loss - (q / q.sum() * (p / p.sum()).log()).sum() / (2 * N)
    return step(method, batch), loss


@formula("dinov2")
def _images_and_patches() -> Two:
    torch.manual_seed(1)
    method = DINOv2(**ssl.VIT, projector_dims=[12, 6], prototypes=5, targets="centring").double()
    batch: Any = views() | {"seed": 3}
    tau, loss = method.temperature, torch.zeros(()).double()
    masked, _ = method.masks(batch["views"], batch)
    for i, (view, mask) in enumerate(zip(batch["views"], masked.chunk(2), strict=True)):
        known = method.encoder_ema.tokens(view)
        seen = method.encoder.tokens(view, masked=mask, mask_token=method.mask_token)
        other = method.encoder.tokens(
            batch["views"][1 - i], masked=masked.chunk(2)[1 - i], mask_token=method.mask_token
        )
        q = (method.heads_ema[0](known.prefix[:, 0]) / method.teacher_temperature).softmax(1)
        log_p = (method.heads[0](other.prefix[:, 0]) / tau).log_softmax(1)
        loss = loss - (q * log_p).sum() / (2 * N)
        u = unit(seen.prefix[:, 0])
        for b in range(N):
            far = [(u[b] - u[c]).norm() for c in range(N) if c != b]
            loss = loss - method.koleo_weight * torch.stack(far).min().log() / N
            for n in mask[b].nonzero().flatten():
                q_n = method.heads_ema[1](known.patches[b, n]) / method.teacher_temperature
                log_n = (method.heads[1](seen.patches[b, n]) / tau).log_softmax(0)
                loss = loss - (q_n.softmax(0) * log_n).sum() / mask[b].sum() / (2 * N)
    return step(method, batch), loss
