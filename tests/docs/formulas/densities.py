"""Adversarial networks and flows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.docs.formulas.common import N, Two, formula, images, step
from tests.methods import programs_flows as flows
from tests.methods import programs_wgan_gp as gans


def critic(objective: str, constraint: str) -> Two:
    method = gans.small(objective=objective, constraint=constraint, penalty_weight=7.0).double()
    real = method.to_critic(images()["image"])
    label, z = torch.zeros(N, dtype=torch.int64), torch.randn(N, 8, dtype=torch.float64)
    z, u = z[:, : method.hparams["latent_dim"]], torch.rand(N, dtype=torch.float64)
    with torch.no_grad():
        fake = method.generator(z, label)
    f_x, f_fake = method.critic(real, label), method.critic(fake, label)
    between = (u.view(-1, 1, 1, 1) * real + (1 - u.view(-1, 1, 1, 1)) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(method.critic(between, label).sum(), between)
    excess = slope.square().sum((1, 2, 3)).sqrt() - 1
    excess = excess.clamp(min=0) if constraint == "one_sided_penalty" else excess
    sigma = torch.sigmoid
    slopes = torch.zeros((), dtype=torch.float64)
    for image in (real, fake):
        (at,) = torch.autograd.grad(method.critic(image.requires_grad_(), label).sum(), image)
        slopes = slopes + at.square().sum((1, 2, 3)).mean() / 2
    penalty = slopes if constraint == "r1_r2" else excess.square().mean()
    said = {
        "wasserstein": f_fake.mean() - f_x.mean(),
        "hinge": (1 - f_x).clamp(min=0).mean() + (1 + f_fake).clamp(min=0).mean(),
        "non_saturating": -sigma(f_x).log().mean() - (1 - sigma(f_fake)).log().mean(),
        "relativistic": -sigma(f_x - f_fake).log().mean(),
    }[objective]
    against = f_x if objective == "relativistic" else 0
    log = objective in ("non_saturating", "relativistic")
    generator = -sigma(f_fake - against).log() if log else -f_fake
    loss = method.critic_loss(real, label, z, u)["loss"]
    both = loss + 3 * method.generator_loss(real, label, z)["loss"]
    return both, said + 7 * penalty + 3 * generator.mean()


@formula("wgan_gp")
def _wasserstein() -> Two:
    return critic("wasserstein", "penalty")


@formula("wgan_gp")
def _hinge() -> Two:
    return critic("hinge", "one_sided_penalty")


@formula("wgan_gp")
def _non_saturating() -> Two:
    return critic("non_saturating", "penalty")


def density(name: str, **options: Any) -> Two:
    """The loss, and the change of variables by the Jacobian of an image's levels."""
    method = flows.moved(name, levels=17, **options).double().eval()
    batch = {"image": (torch.arange(128).view(2, 1, 8, 8) % 17).double() / 16,
             "label": torch.tensor([3, 7])}  # fmt: skip
    noise = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    method.cell_noise = lambda image: noise
    loss = torch.zeros((), dtype=torch.float64)
    known = batch["label"] if method.num_classes else None
    for i in range(2):
        image = batch["image"][i : i + 1]

        def latents(place: Tensor, image: Tensor = image) -> Tensor:
            z: Tensor = method.flow.layers(method.flow.pixels(image, place)[0])[0]
            return z[0]

        place = noise[i : i + 1]
        slopes = torch.autograd.functional.jacobian(latents, place).view(64, 64)
        p_z = method.flow.latents.log_prob(
            latents(place)[None], None if known is None else known[i : i + 1]
        )
        loss = loss - (p_z[0] + slopes.detach().slogdet().logabsdet) / 2
    return step(method, batch), loss


@formula("wgan_gp")
def _relativistic() -> Two:
    return critic("relativistic", "r1_r2")


@formula("nice")
def _additive() -> Two:
    return density("nice")


@formula("realnvp")
def _affine() -> Two:
    return density("realnvp")


@formula("realnvp")
def _spline() -> Two:
    return density("realnvp", coupling="spline", bins=4)


@formula("glow")
def _class() -> Two:
    return density("glow")


@formula("glow")
def _plain() -> Two:
    return density("glow_plain")


@formula("maf")
def _density() -> Two:
    return density("maf")


@formula("maf")
def _sampling() -> Two:
    return density("iaf")


@formula("nsf")
def _couplings() -> Two:
    return density("nsf")


@formula("nsf")
def _autoregressive() -> Two:
    return density("nsf_autoregressive")
