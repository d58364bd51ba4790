"""VAT, mean teacher and M2 at small size, with their batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab.contracts import Batch
from genlab.methods.m2 import M2
from genlab.methods.mean_teacher import MeanTeacher
from genlab.methods.vat import VAT

K, B, M = 4, 4, 12
CNN: dict[str, Any] = {
    "num_classes": K, "channels": 1, "image_size": 8,
    "encoder": "small_cnn", "encoder_kwargs": {"width": 4},
}  # fmt: skip
VAES: dict[str, Any] = {"latent_dim": 3, "hidden_dims": [8]}
METHODS: dict[str, Any] = {"vat": VAT, "mean_teacher": MeanTeacher, "m2": M2}


def small(name: str, **options: Any) -> Any:
    """A method with few weights, always the same ones."""
    torch.manual_seed(1)
    return METHODS[name](**CNN | (VAES if name == "m2" else {}) | options)


def batch(seed: int = 2) -> Batch:
    """Of 4 labelled and 12 unlabelled images, whose two views differ."""
    generator = torch.Generator().manual_seed(seed)
    image, weak, strong = (torch.rand(n, 1, 8, 8, generator=generator) for n in (B, M, M))
    labeled: Batch = {"image": image, "label": torch.arange(B) % K, "index": torch.arange(B)}
    unlabeled: Batch = {"views": [weak, strong], "index": torch.arange(M)}
    unlabeled["label"] = torch.arange(M) % (K + 1) - 1
    return {"labeled": labeled, "unlabeled": unlabeled, "seed": seed}


def doubled(given: Batch) -> Batch:
    """The batch in float64."""
    labeled, unlabeled = given["labeled"], given["unlabeled"]
    wide: Batch = {**unlabeled, "views": [view.double() for view in unlabeled["views"]]}
    return {**given, "labeled": {**labeled, "image": labeled["image"].double()}, "unlabeled": wide}


def norms(method: Any) -> list[Tensor]:
    """Running means of a method's batch norms."""
    return [v.clone() for k, v in method.state_dict().items() if k.endswith("running_mean")]
