"""Losses of masked parts of an image."""

from __future__ import annotations

from typing import cast

import torch

from genlab.contracts import Batch
from genlab.methods.ijepa import IJEPA
from genlab.methods.mae import MAE
from genlab.methods.simmim import SimMIM
from tests.docs.formulas.common import N, Two, formula, images, step
from tests.methods.programs_masked import PATCHES_ALONE, VIT


@formula("mae")
def _masked_patches() -> Two:
    torch.manual_seed(1)
    decoder = {"decoder_width": 8, "decoder_depth": 1, "decoder_num_heads": 2}
    method, batch = MAE(**VIT | decoder).double(), images() | {"seed": 3}
    keep = method._drawn(cast(Batch, batch))["keep"]
    prediction = method.decode(batch["image"], keep)
    loss, n, masked = torch.zeros((), dtype=torch.float64), 4, 0
    for b in range(N):
        for i in set(range(16)) - set(keep[b].tolist()):
            top, left = 2 * (i // 4), 2 * (i % 4)
            x = batch["image"][b, 0, top : top + 2, left : left + 2].flatten()
            mean = x.sum() / n
            variance = (x - mean).square().sum() / (n - 1)
            t = (x - mean) / (variance + 1e-6).sqrt()
            loss, masked = loss + (prediction[b, i] - t).square().sum() / n, masked + 1
    return step(method, batch), loss / masked


@formula("simmim")
def _masked_pixels() -> Two:
    torch.manual_seed(1)
    kwargs = VIT["encoder_kwargs"] | PATCHES_ALONE
    method = SimMIM(**VIT | {"encoder_kwargs": kwargs}).double()
    batch = images() | {"seed": 3}
    hidden = method._drawn(cast(Batch, batch))["masked"]
    prediction = method.decode(batch["image"], hidden)
    loss, count = torch.zeros((), dtype=torch.float64), 0
    for b in range(N):
        for row in range(8):
            for column in range(8):
                if hidden[b, 4 * (row // 2) + column // 2]:
                    apart = prediction[b, 0, row, column] - batch["image"][b, 0, row, column]
                    loss, count = loss + apart.abs(), count + 1
    return step(method, batch), loss / (count + 1e-5)


@formula("ijepa")
def _blocks() -> Two:
    torch.manual_seed(1)
    kwargs = VIT["encoder_kwargs"] | PATCHES_ALONE
    predictor = {"predictor_width": 8, "predictor_depth": 1, "predictor_num_heads": 2}
    method = IJEPA(**VIT | predictor | {"encoder_kwargs": kwargs, "targets": 2}).double()
    batch = images() | {"seed": 3}
    context, targets = method._drawn(cast(Batch, batch)).values()
    prediction = method.predict(batch["image"], context, targets)
    taught = method.teach(batch["image"])
    loss = torch.zeros((), dtype=torch.float64)
    for b in range(N):
        for m in range(2):
            for k, place in enumerate(targets[b, m].tolist()):
                t = taught[b, place]
                mean, width = t.mean(), len(t)
                s = (t - mean) / ((t - mean).square().sum() / width + 1e-5).sqrt()
                for j in range(width):
                    d = (prediction[b, m, k, j] - s[j]).abs()
                    loss = loss + (d * d / 2 if d < 1 else d - 0.5)
    return step(method, batch), loss / prediction.numel()
