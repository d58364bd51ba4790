"""Losses of pretext tasks."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from genlab.augment.lab import rgb_to_lab
from genlab.augment.pretext.tiles import standardised
from genlab.methods.colorization import Colorization
from genlab.methods.inpainting import Inpainting
from genlab.methods.jigsaw import Jigsaw
from genlab.methods.relative_position import RelativePosition
from genlab.methods.rotation import Rotation
from genlab.methods.split_brain import SplitBrain
from genlab.methods.super_resolution import SuperResolution
from genlab.networks.encoders.stems import spatial
from tests.docs.formulas.common import N, Two, formula, images, step
from tests.methods.programs_ssl import CNN


@formula("rotation")
def _four_turns() -> Two:
    torch.manual_seed(1)
    method, batch = Rotation(**CNN).double(), images()
    turns = [torch.rot90(batch["image"], k, (2, 3)) for k in range(4)]
    scores = method.head(method.encoder(torch.cat(turns)))
    loss = torch.zeros((), dtype=torch.float64)
    for row, s in enumerate(scores):
        k = row // N
        loss = loss - (s[k].exp() / s.exp().sum()).log() / (4 * N)
    return step(method, batch), loss


@formula("jigsaw")
def _permutations() -> Two:
    torch.manual_seed(1)
    method = Jigsaw(**CNN | {"image_size": 24}, head_dims=[6]).double()
    drawn = torch.rand(N, 1, 24, 24, dtype=torch.float64)
    batch: Any = {"image": drawn, "label": torch.zeros(N), "index": torch.arange(N), "seed": 4}
    tiles, label = method.puzzle(batch)
    flat = standardised(tiles.transpose(0, 1).flatten(0, 1))
    each = method.encoder(flat, normalized=True).split(N)
    loss = torch.zeros((), dtype=torch.float64)
    for s, y in zip(method.head(torch.cat(each, 1)), label, strict=True):
        loss = loss - (s[y].exp() / s.exp().sum()).log() / N
    return step(method, batch), loss


def coloured(side: int = 8) -> dict[str, Any]:
    drawn = torch.rand(N, 3, side, side, generator=torch.Generator().manual_seed(3))
    drawn[0] = drawn[0, :1]  # an image without colour
    return {"image": drawn.double(), "label": torch.zeros(N), "index": torch.arange(N), "seed": 4}


@formula("colorization")
def _bins() -> Two:
    torch.manual_seed(1)
    method, batch = Colorization(**CNN | {"channels": 3}, decoder_width=4).double(), coloured()
    lab = rgb_to_lab(batch["image"])
    scores = method.decoder(spatial(method.encoder.backbone, lab[:, :1] / 100))
    method.counts += torch.arange(len(method.counts))
    p = method.counts / method.counts.sum()
    w = 1 / (0.5 * p.clamp(min=1e-5) + 0.5 / len(p))
    w = w / (p * w).sum()
    loss = torch.zeros((), dtype=torch.float64)
    for b in range(1, N):
        for y, x in itertools.product(range(8), repeat=2):
            square = (lab[b, 1:, y, x] - method.centres).square().sum(1)
            nearest = square.argsort()[:5]
            share = (-square[nearest] / 50).exp()
            logs = scores[b, :, y, x].log_softmax(0)[nearest]
            loss = loss - w[nearest[0]] * (share * logs).sum() / share.sum() / (64 * N)
    return step(method, batch), loss


@formula("colorization")
def _numbers() -> Two:
    torch.manual_seed(1)
    method = Colorization(**CNN | {"channels": 3}, target="regression", decoder_width=4).double()
    batch = coloured()
    lab = rgb_to_lab(batch["image"])
    told = method.decoder(spatial(method.encoder.backbone, lab[:, :1] / 100))
    apart = told - lab[:, 1:] / 110
    return step(method, batch), apart[1:].square().sum() / (2 * 64 * N)


@formula("relative_position")
def _places() -> Two:
    torch.manual_seed(1)
    method = RelativePosition(**CNN | {"channels": 3, "image_size": 32}, head_dims=[6]).double()
    batch: Any = coloured(32)
    patches = method.guarded(batch)
    flat = patches.transpose(0, 1).flatten(0, 1)
    every = method.encoder(flat, normalized=True).unflatten(0, (9, N))
    others = [k for k in range(9) if k != 4]
    pairs = [torch.cat([every[4], every[k]], 1) for k in others]
    logs = method.head(torch.cat(pairs)).unflatten(0, (8, N)).log_softmax(2)
    loss = torch.zeros((), dtype=torch.float64)
    for k in range(8):
        loss = loss - logs[k, :, k].sum() / (8 * N)
    return step(method, batch), loss


@formula("super_resolution")
def _pixels() -> Two:
    torch.manual_seed(1)
    method, batch = SuperResolution(**CNN, decoder_width=4).double(), images()
    small = method.shrunk(batch["image"])
    told = method.enlarged(small) + method.decoder(method.encoder.features(small))
    return step(method, batch), (told - batch["image"]).abs().sum() / (64 * N)


@formula("inpainting")
def _hole() -> Two:
    torch.manual_seed(1)
    method: Any = Inpainting(**CNN, overlap=1, decoder_width=4).double()
    batch = images() | {"seed": 4}
    shown, box = method.ask(batch)
    square = (method.answer(shown) - batch["image"]).square()
    assert box.tolist() == N * [[2, 2, 4, 4]]
    whole, inner = square[..., 2:6, 2:6].sum(), square[..., 3:5, 3:5].sum()
    return step(method, batch), (10 * whole - 9 * inner) / (16 * N)


@formula("inpainting")
def _critic() -> Two:
    torch.manual_seed(1)
    options: dict[str, Any] = {"overlap": 0, "decoder_width": 4, "critic_width": 4}
    method: Any = Inpainting(**CNN, adversarial_weight=0.25, **options).double()
    batch = images() | {"seed": 4}
    image, told = batch["image"], method.answer(method.ask(batch)[0])
    closed = image.clone()
    closed[..., 2:6, 2:6] = told[..., 2:6, 2:6]
    real, fake = method.critic(image).sigmoid(), method.critic(closed).sigmoid()
    error = (told - image).square()[..., 2:6, 2:6].mean()
    loss = 0.75 * error - 0.25 * fake.log().mean() - real.log().mean() - (1 - fake).log().mean()
    return step(method, batch), loss


@formula("split_brain")
def _both() -> Two:
    torch.manual_seed(1)
    method: Any = SplitBrain(**CNN | {"channels": 3}, decoder_width=4).double()
    batch = coloured()
    lab = rgb_to_lab(batch["image"])
    of_ab, of_l = (scores.log_softmax(1) for scores in method.predict(batch["image"]))
    loss = torch.zeros((), dtype=torch.float64)
    for b, y, x in itertools.product(range(N), range(8), range(8)):
        square = (lab[b, 1:, y, x] - method.centres).square().sum(1)
        nearest = square.argsort()[:5]
        share = (-square[nearest] / 50).exp()
        loss = loss - (share * of_ab[b, nearest, y, x]).sum() / share.sum()
        loss = loss - of_l[b, min(49, int(lab[b, 0, y, x] / 2)), y, x]
    return step(method, batch), loss / (64 * N)
