"""Masked priors over codes, and autoencoders of codes with a critic."""

from __future__ import annotations

import math
from typing import Any

import torch

from genlab.methods.masked_prior import MaskedPrior
from genlab.methods.vqgan import VQGAN
from tests.docs.formulas.autoencoders import VQ
from tests.docs.formulas.common import N, Two, formula, images, step


@formula("masked_prior")
def _masked() -> Two:
    sizes: dict[str, Any] = {"width": 16, "depth": 2, "num_classes": 3, "dropout": 0.0}
    sizes |= {"class_conditional": True, "label_dropout": 0.0, "label_smoothing": 0.2}
    spec = {"class_path": "genlab.methods.vqvae.VQVAE", "init_args": VQ}
    method = MaskedPrior(tokenizer_spec=spec, **sizes).eval()
    batch = images() | {"image": images()["image"].float()}
    codes = method.tokenizer.encode(batch["image"])
    torch.manual_seed(5)
    u, order = torch.rand(N), torch.rand(codes.shape).flatten(1).argsort(1)
    known = torch.ones(N, 16, dtype=torch.bool)
    for i in range(N):
        known[i, order[i, : max(1, round(16 * math.cos(math.pi * float(u[i]) / 2)))]] = False
    known = known.view(codes.shape)
    log_p = method.prior(codes, known, batch["label"]).double().log_softmax(1)  # (B, K, h, w)
    loss = torch.zeros((), dtype=torch.float64)
    for i, row, column in (~known).nonzero().tolist():
        target = torch.full((16,), 0.2 / 16, dtype=torch.float64)
        target[codes[i, row, column]] += 0.8
        loss = loss - (target * log_p[i, :, row, column]).sum() / N
    return step(method, batch), loss


@formula("vqgan")
def _critic() -> Two:
    own: dict[str, Any] = {"critic_kwargs": {"width": 8}, "perceptual": "small_cnn"}
    method = VQGAN(**VQ, **own, perceptual_weight=0.6, adversarial_ramp=3, init_from_data=False)
    x = images()["image"].float()
    rows = method.encoder(x).movedim(1, -1)
    codes = method.quantizer.codebook.clone()
    e = codes[(rows[..., None, :] - codes).square().sum(-1).argmin(-1)]
    shown = method.decoder(e.movedim(-1, 1))
    features = []
    for a, b in zip(method._maps(shown), method._maps(x), strict=True):
        a, b = (f.double() / f.double().norm(dim=1, keepdim=True) for f in (a, b))
        features.append((a - b).square().sum(1).mean((1, 2)))
    distance = torch.stack(features).mean(0)
    error = (x - shown).double().abs().sum((1, 2, 3)) + 0.6 * 64 * distance
    opinion = -method.critic(2 * shown - 1).mean()
    last: Any = method.decoder.layers[-1].weight
    slopes = [torch.autograd.grad(one, last, retain_graph=True)[0].double()
              for one in (error.mean(), opinion)]  # fmt: skip
    weight = 0.8 * 0.25 * slopes[0].norm() / (slopes[1].norm() + 1e-4)
    real, fake = method.critic(2 * x - 1).double(), method.critic(2 * shown - 1).double()
    hinge = ((1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()) / 2
    commitment = 0.25 * (rows - e).double().square().sum((1, 2, 3))
    loss = (error + commitment).mean() + weight * opinion.double() + hinge
    return step(method, {"image": x}), loss
