"""Autoencoders and priors over codes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from genlab.methods.autoencoder import Autoencoder
from genlab.methods.cvae import CVAE
from genlab.methods.hierarchical_vae import HierarchicalVAE
from genlab.methods.made import MADE
from genlab.methods.pixel_prior import PixelPrior
from genlab.methods.vae import VAE
from genlab.methods.vq_prior import VQPrior
from genlab.methods.vqvae import VQVAE
from tests.docs.formulas.common import N, Two, formula, images, step

DENSE: dict[str, Any] = {"image_size": 8, "latent_dim": 3, "hidden_dims": [16]}
VQ: dict[str, Any] = {"channels": 1, "image_size": 8, "num_codes": 16, "code_dim": 4, "hidden": 16,
                      "downsamplings": 1, "residual_blocks": 1}  # fmt: skip


def bernoulli(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x) of each image."""
    p = 1 / (1 + torch.exp(-logits))
    return -(x * p.log() + (1 - x) * (1 - p).log()).sum((1, 2, 3))


def normal(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Log N(x; mean, variance), summed over the last dimension."""
    return -((x - mean) ** 2 / variance + (2 * math.pi * variance).log()).sum(-1) / 2


@formula("autoencoder")
def _bernoulli() -> Two:
    method, batch = Autoencoder(**DENSE).double(), images()
    maps = method.decoder(method.encoder(batch["image"]))
    return step(method, batch), bernoulli(maps, batch["image"]).mean()


@formula("autoencoder")
def _gaussian() -> Two:
    method, batch = Autoencoder(**DENSE, likelihood="gaussian").double(), images()
    maps = method.decoder(method.encoder(batch["image"])).flatten(1)
    one = torch.ones((), dtype=torch.float64)
    return step(method, batch), -normal(batch["image"].flatten(1), maps, one).mean()


@formula("vae")
def _elbo() -> Two:
    method, batch = VAE(**DENSE, kl_weight=0.7).double(), images()
    mean, logvar, z = posterior(*method.encode(batch["image"]))
    kl = (mean**2 + logvar.exp() - 1 - logvar).sum(1) / 2
    return step(method, batch), (bernoulli(method.decoder(z), batch["image"]) + 0.7 * kl).mean()


@formula("vae")
def _free_bits() -> Two:
    method, batch = VAE(**DENSE, free_bits=0.02).double(), images()
    mean, logvar, z = posterior(*method.encode(batch["image"]))
    each = ((mean**2 + logvar.exp() - 1 - logvar) / 2).mean(0)
    kl = torch.stack([one.clamp(min=0.02) for one in each]).sum()
    return step(method, batch), bernoulli(method.decoder(z), batch["image"]).mean() + kl


@formula("vae")
def _importance() -> Two:
    method, batch = VAE(**DENSE, iw_samples=4, kl_weight=0.7).double(), images()
    mean, logvar = (x.expand(4, -1, -1) for x in method.encode(batch["image"]))
    mean, logvar, z = posterior(mean, logvar)
    x, zero = batch["image"], torch.zeros((), dtype=torch.float64)
    p_x = torch.stack([-bernoulli(method.decoder(one), x) for one in z])
    ratio = normal(z, zero, zero.exp()) - normal(z, mean, logvar.exp())
    return step(method, batch), -(p_x + 0.7 * ratio).exp().mean(0).log().mean()


def posterior(mean: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, log-variance and the draw z of the step."""
    torch.manual_seed(5)
    return mean, logvar, mean + (logvar / 2).exp() * torch.randn_like(mean)


def conditional(prior: str) -> Two:
    method: Any = CVAE(**DENSE, num_classes=3, prior=prior, kl_weight=0.7).double()
    batch = images()
    y = batch["label"]
    with torch.no_grad():
        for p in method.parameters():
            p.add_(0.1 * torch.randn_like(p))
    mean, logvar, z = posterior(*method.encode(batch["image"], y))
    mu = torch.zeros_like(mean) if prior == "standard" else method.prior_mean(y)
    own = method.prior_logvar(y) if prior == "learned" else torch.zeros_like(mean)
    kl = ((mean - mu) ** 2 / own.exp() + (logvar - own).exp() - 1 - (logvar - own)).sum(1) / 2
    if prior != "class_mean":
        z = torch.cat([z, torch.eye(3, dtype=torch.float64)[y]], 1)
    nll = bernoulli(method.decoder(z), batch["image"])
    return step(method, batch), (nll + 0.7 * kl).mean()


@formula("cvae")
def _standard() -> Two:
    return conditional("standard")


@formula("cvae")
def _learned() -> Two:
    return conditional("learned")


@formula("cvae")
def _class_mean() -> Two:
    return conditional("class_mean")


@formula("vqvae")
def _codes() -> Two:
    method = VQVAE(**VQ, codebook="gradient", init_from_data=False, pixel_variance=0.5)
    x = images()["image"].float()
    z = method.encoder(x)
    rows, codes = z.movedim(1, -1).double(), method.quantizer.codebook.double()
    e = codes[(rows[..., None, :] - codes).square().sum(-1).argmin(-1)]  # (B, h, w, D)
    shown = method.decoder(e.movedim(-1, 1).float()).double()
    pixels = (x.double() - shown).square().sum((1, 2, 3)) / 0.5
    distance = (rows - e).square().sum((1, 2, 3))
    return step(method, {"image": x}), (pixels + 0.25 * distance + distance).mean()


@formula("vqvae")
def _gumbel() -> Two:
    method = VQVAE(**VQ, codebook="gumbel", kl_weight=0.3, likelihood="bernoulli").eval()
    x = images()["image"].float()
    found = method.quantizer(method.encoder(x))
    q = torch.as_tensor(found.logits).double().softmax(1)
    kl = (q * (16 * q).log()).sum((1, 2, 3))
    pixels = bernoulli(method.decoder(found.quantized).double(), x.double())
    return step(method, {"image": x}), (pixels + 0.3 * kl).mean()


@formula("vqvae")
def _stages() -> Two:
    method = VQVAE(**VQ, codebook="residual", stages=2, commitment_weight=0.4).eval()
    x = images()["image"].float()
    rest = z = method.encoder(x).movedim(1, -1).double()  # (B, h, w, D)
    total, done = torch.zeros((), dtype=torch.float64), torch.zeros_like(z)
    for part in method.quantizer.parts:
        codes = part.codebook.double()
        e = codes[(rest[..., None, :] - codes).square().sum(-1).argmin(-1)]
        rest, done = rest - e, done + e
        total = total + 0.4 * (z - done).square().sum((1, 2, 3)).mean()
    shown = method.decoder(done.movedim(-1, 1).float()).double()
    return step(method, {"image": x}), (x.double() - shown).square().sum((1, 2, 3)).mean() + total


@formula("vqvae")
def _map() -> Two:
    method = VQVAE(**VQ, codebook="sim").eval()
    x = images()["image"].float()
    z = method.encoder(x).movedim(1, -1).double()
    codes = method.quantizer.frozen.double() @ method.quantizer.map.weight.double().T
    e = codes[(z[..., None, :] - codes).square().sum(-1).argmin(-1)]
    shown = method.decoder(e.movedim(-1, 1).float()).double()
    pixels = (x.double() - shown).square().sum((1, 2, 3))
    return step(method, {"image": x}), (pixels + 1.25 * (z - e).square().sum((1, 2, 3))).mean()


@formula("vqvae")
def _rounded() -> Two:
    method = VQVAE(**VQ, codebook="fsq", levels=[4, 3]).eval()
    x = images()["image"].float()
    found = []
    for z, levels in zip(method.encoder(x).double().unbind(1), (4, 3), strict=True):
        s, h = (1 - levels % 2) / 2, 1.001 * (levels - 1) / 2
        found.append((h * (z + math.atanh(s / h)).tanh() - s).round() / (levels // 2))
    shown = method.decoder(torch.stack(found, dim=1).float()).double()
    return step(method, {"image": x}), (x.double() - shown).square().sum((1, 2, 3)).mean()


@formula("vqvae")
def _signs() -> Two:
    own = {"entropy_weight": 0.3, "diversity": 0.7, "factor": 2.0}
    method = VQVAE(**VQ, codebook="lfq", lfq=own)
    x = images()["image"].float()
    z = method.encoder(x).movedim(1, -1).double()
    every = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * 4)  # (K, d)
    p = (2 * 2.0 * z @ every.T).softmax(-1).flatten(0, 2)
    places = -(p * p.log()).sum(1).mean() + 0.7 * (p.mean(0) * p.mean(0).log()).sum()
    e = torch.where(z > 0, 1.0, -1.0).double()
    shown = method.decoder(e.movedim(-1, 1).float()).double()
    pixels = (x.double() - shown).square().sum((1, 2, 3)).mean()
    commitment = 0.25 * (z - e).square().sum((1, 2, 3)).mean()
    return step(method, {"image": x}), pixels + commitment + 0.3 * z[0, ..., 0].numel() * places


@formula("vq_prior")
def _raster() -> Two:
    sizes: dict[str, Any] = {"width": 16, "depth": 2, "num_classes": 3}
    sizes |= {"class_conditional": True, "label_dropout": 0.0}
    spec = {"class_path": "genlab.methods.vqvae.VQVAE", "init_args": VQ}
    method = VQPrior(tokenizer_spec=spec, **sizes).eval()
    batch = images() | {"image": images()["image"].float()}
    codes = method.tokenizer.encode(batch["image"])
    p = method.prior(codes, batch["label"]).double().softmax(1)  # (B, K, h, w)
    loss = torch.zeros((), dtype=torch.float64)
    for i, grid in enumerate(codes):
        for row in range(len(grid)):
            for column, code in enumerate(grid[row]):
                loss = loss - p[i, code, row, column].log() / N
    return step(method, batch), loss


@formula("made")
def _orders() -> Two:
    """Each variable's distribution by the network that is shown those before it alone."""
    method = MADE(1, 3, hidden_dims=[12], orders=3).double()
    with torch.no_grad():
        for p in method.parameters():
            p.add_(torch.randn_like(p))
    image = torch.randint(0, 2, (N, 1, 3, 3)).double()
    loss = torch.zeros((), dtype=torch.float64)
    evaluated = torch.zeros(3, N, dtype=torch.float64)
    for k, place in enumerate(method.network.places):
        for d in range(9):
            x = image.flatten(1) * (place < place[d])
            logit = method.network(x, k)[:, d, 0]
            evaluated[k] += image.flatten(1)[:, d] * logit - (1 + logit.exp()).log()
    loss = -evaluated[0].mean() - evaluated.exp().mean(0).log().mean()
    both = method.validation_step({"image": image}, 0)["loss"]
    return step(method, {"image": image}) + both, loss


@formula("pixel_prior")
def _pixels() -> Two:
    method = PixelPrior(1, 3, levels=3, width=8, depth=1, heads=2).double()
    image = torch.randint(0, 3, (N, 1, 3, 3)).double() / 2
    level = (2 * image[:, 0]).long()
    loss = torch.zeros((), dtype=torch.float64)
    for d in range(9):
        seen = level.flatten(1) * (torch.arange(9) < d)
        p = method.prior(seen.view(N, 3, 3)).flatten(2)[:, :, d].softmax(1)
        loss = loss - p[torch.arange(N), level.flatten(1)[:, d]].log().mean()
    return step(method, {"image": image}), loss


def hierarchy(form: str) -> Two:
    sizes: dict[str, Any] = {"latent_dims": [2, 3], "features": 4, "level_dims": [6]}
    sizes |= {"image_size": 8, "hidden_dims": [16], "kl_weight": 0.7}
    method, batch = HierarchicalVAE(**sizes, form=form).double(), images()
    x, level = batch["image"], method.levels[0]
    h = method.encoder(x)
    torch.manual_seed(5)
    mean, logvar = method.to_top(h).chunk(2, 1)
    top = mean + (logvar / 2).exp() * torch.randn_like(mean)
    kl = (mean**2 + logvar.exp() - 1 - logvar).sum(1) / 2
    m_p, v_p = level.to_prior(top).chunk(2, 1)  # type: ignore[operator]
    v_p = v_p.exp()
    m, v = level.to_posterior(torch.cat([h, top], 1)).chunk(2, 1)  # type: ignore[operator]
    v = v.exp()
    if form == "ladder":
        both = 1 / (1 / v + 1 / v_p)
        m, v = both * (m / v + m_p / v_p), both
    elif form == "residual":
        m, v = m_p + m, v_p * v
    low = m + v.sqrt() * torch.randn_like(m)
    kl = kl + ((m - m_p) ** 2 / v_p + v / v_p - 1 - (v / v_p).log()).sum(1) / 2
    nll = bernoulli(method.decoder(torch.cat([top, low], 1)), x)
    return step(method, batch), (nll + 0.7 * kl).mean()


@formula("hierarchical_vae")
def _independent() -> Two:
    return hierarchy("independent")


@formula("hierarchical_vae")
def _ladder() -> Two:
    return hierarchy("ladder")


@formula("hierarchical_vae")
def _residual() -> Two:
    return hierarchy("residual")
