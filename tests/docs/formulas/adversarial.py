"""Adversarial networks with an encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab.methods.cvae_gan import CVAEGAN, MEANS
from genlab.methods.ogan import OGAN
from tests.docs.formulas.common import N, Two, formula, images

DENSE: dict[str, Any] = {"hidden_dims": [16]}


@formula("ogan")
def _one() -> Two:
    networks: dict[str, Any] = {"generator": "mlp", "critic": "mlp", "generator_kwargs": DENSE}
    method = OGAN(image_size=8, latent_dim=5, critic_kwargs=DENSE, **networks).double()
    x, z = 2 * images()["image"] - 1, torch.randn(N, 5, dtype=torch.float64)
    fake = method.generator(z)
    e_x, e_fake = method.critic(x), method.critic(fake)
    t1 = e_x.mean(1) - e_fake.mean(1)
    rho = torch.stack(
        [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(z, e_fake, strict=True)]
    )
    d = (x - fake).square().mean((1, 2, 3))
    return method.loss_of(x, z)["loss"], (t1 - rho / 2 + t1**2 / (4 * d)).mean()


def _method() -> tuple[CVAEGAN, dict[str, Tensor], Tensor]:
    names = ("generator", "critic")
    networks: dict[str, Any] = dict.fromkeys(names, "mlp") | {
        f"{name}_kwargs": DENSE for name in names
    }
    weights: dict[str, Any] = {"kl_weight": 2.0, "reconstruction_weight": 3.0, "critic_weight": 5.0}
    method = CVAEGAN(
        num_classes=3, image_size=8, latent_dim=4, encoder="mlp", class_weight=7.0, **DENSE,
        **networks, **weights,
    ).double()  # fmt: skip
    return method, images(), torch.randn(N, 8, dtype=torch.float64)


@formula("cvae_gan")
def _coder() -> Two:
    method, batch, noise = _method()
    image, y = batch["image"], batch["label"]
    first = method.coder_loss(image, y, noise)
    for name in MEANS:
        getattr(method, name).update(first[name])
    x = 2 * image - 1
    mean, logvar = method.encode(image, y)
    x_hat = method.generator(mean + (logvar / 2).exp() * noise[:, :4], y)
    fake = method.generator(noise[:, 4:], y)
    kl = (mean**2 + logvar.exp() - 1 - logvar).sum(1) / 2
    h_f, h_p = method.critic.features, method.classifier.features
    squares = (x - x_hat).square().sum((1, 2, 3)) + (h_f(x) - h_f(x_hat)).square().sum(1)
    squares = squares + (h_p(x) - h_p(x_hat)).square().sum(1)
    loss = (2 * kl + 1.5 * squares).mean()
    loss = loss + 2.5 * (h_f(x).mean(0) - h_f(fake).mean(0)).square().sum()
    gaps = [(h_p(x)[y == k].mean(0) - h_p(fake)[y == k].mean(0)).square().sum() for k in range(3)]
    return method.coder_loss(image, y, noise)["loss"], loss + 3.5 * sum(gaps) / 3


@formula("cvae_gan")
def _critic_and_classifier() -> Two:
    method, batch, noise = _method()
    image, y = batch["image"], batch["label"]
    x = 2 * image - 1
    x_hat, fake, _ = method.fakes(image, y, noise)
    sigma, f = torch.sigmoid, method.critic
    loss = -sigma(f(x)).log().mean()
    loss = loss - (1 - sigma(f(x_hat))).log().mean() / 2 - (1 - sigma(f(fake))).log().mean() / 2
    nll = -method.classifier(x).softmax(1)[torch.arange(N), y].log().mean()
    found = method.critic_loss(image, y, noise)["loss"]
    return found + 3 * method.classifier_loss(image, y)["loss"], loss + 3 * nll
