"""Losses of images that are compared with others: of the class, near by, or of a cluster."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab.methods.deepcluster import DeepCluster
from genlab.methods.supcon import SupCon
from genlab.methods.swav import SwAV
from tests.docs.formulas.common import N, Two, formula, step, unit
from tests.docs.formulas.self_supervised import views
from tests.methods import programs_nnclr
from tests.methods import programs_ssl as ssl


def nearest(rows: Tensor, z: Tensor) -> Tensor:
    """The row with the largest product, for each z."""
    each: list[Tensor] = []
    for one in z.detach():
        products = [float(one @ row) for row in rows]
        each.append(rows[products.index(max(products))])
    return torch.stack(each)


@formula("supcon")
def _classes() -> Two:
    method = SupCon(**ssl.CNN, projector_dims=[12, 6], temperature=0.2).double()
    label = torch.tensor([0, 1, 0, 2, 1, 0])
    batch = views() | {"label": label}
    z, y = unit(method.embed(torch.cat(batch["views"]))), [*label.tolist(), *label.tolist()]
    loss = torch.zeros((), dtype=torch.float64)
    for i in range(2 * N):
        others = [a for a in range(2 * N) if a != i]
        total = torch.stack([(z[i] @ z[a] / 0.2).exp() for a in others]).sum()
        positives = [p for p in others if y[p] == y[i]]
        for p in positives:
            share = (z[i] @ z[p] / 0.2).exp() / total
            loss = loss - share.log() / len(positives) / (2 * N)
    return step(method, batch), loss


@formula("nnclr")
def _neighbours() -> Two:
    method, batch = programs_nnclr.small().double(), views()
    z1, z2 = (method.embed(view) for view in batch["views"])
    p1, p2 = (unit(method.predictor(z)) for z in (z1, z2))
    n1, n2 = (nearest(method.queue.keys, unit(z)) for z in (z1, z2))
    loss = torch.zeros((), dtype=torch.float64)
    for n, p in ((n1, p2), (n2, p1)):
        for i in range(N):
            terms = torch.stack([(n[i] @ p[j] / method.temperature).exp() for j in range(N)])
            loss = loss - (terms[i] / terms.sum()).log() / (2 * N)
    return step(method, batch), loss


@formula("swav")
def _assignments() -> Two:
    """Two large views and a small one, which has no assignment."""
    torch.manual_seed(1)
    method: Any = SwAV(**ssl.CNN, projector_dims=[12, 6], prototypes=5).double().eval()
    batch = views()
    batch["views"].append(batch["views"][0][..., 2:6, 2:6])
    c = unit(method.prototypes.weight)
    scores = [unit(method.embed(view)) @ c.T for view in batch["views"]]
    loss = torch.zeros((), dtype=torch.float64)
    for i in (0, 1):
        q = (scores[i].detach() / 0.05).exp()
        for _ in range(3):
            q = q / q.sum(0, keepdim=True)
            q = q / q.sum(1, keepdim=True)
        for v in {0, 1, 2} - {i}:
            p = (scores[v] / method.temperature).exp()
            loss = loss - (q * (p / p.sum(1, keepdim=True)).log()).sum() / N / (2 * 2)
    return step(method, batch), loss


@formula("deepcluster")
def _clusters() -> Two:
    torch.manual_seed(1)
    heads: Any = {"projector_dims": [12, 6], "prototypes": [5, 4, 3]}
    method: Any = DeepCluster(**ssl.CNN | heads).double()
    for bank in method.banks:
        bank.fit_to(torch.arange(30, 50).numpy())
    method.clusters.fit_to(20)
    method.clusters.update([bank.rows for bank in method.banks], 0, 5)
    batch = views() | {"index": torch.tensor([31, 49, 30, 35, 40, 33])}
    b = [bank.rows[batch["index"] - 30] for bank in method.banks]
    z = unit(method.projector(method.encoder(torch.cat(batch["views"])))).chunk(2)
    loss = torch.zeros((), dtype=torch.float64)
    for h, c in enumerate(method.clusters.centroids):
        own = nearest(c, b[h % 2])  # c_y
        for view in z:
            total = (view @ c.T / method.temperature).exp().sum(1)
            share = ((view * own).sum(1) / method.temperature).exp() / total
            loss = loss - share.log().mean() / 2 / 3
    return step(method, batch), loss
