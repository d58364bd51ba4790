"""The flows at small size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab.methods.glow import Glow
from genlab.methods.maf import MAF
from genlab.methods.nice import NICE
from genlab.methods.nsf import NSF
from genlab.methods.realnvp import RealNVP

IMAGES: dict[str, Any] = {"channels": 1, "image_size": 8}
TOYS: dict[str, Any] = {"channels": 2, "image_size": 1, "preprocess": "none"}
DENSE: dict[str, Any] = {"network": "mlp", "hidden_dims": [12]}
CONV: dict[str, Any] = {"scales": 2, "width": 6}
SMALL: dict[str, Any] = {"steps": 2, "width": 8, "blocks": 1, "bins": 4}
SPLINE: dict[str, Any] = {"coupling": "spline", "bins": 4}
METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "nice": (NICE, IMAGES | {"hidden_dims": [12, 12]}),
    "realnvp": (RealNVP, IMAGES | CONV | {"couplings": 2, "blocks": 1}),
    "realnvp_spline": (RealNVP, IMAGES | DENSE | SPLINE | {"couplings": 3, "alpha": 1e-6}),
    "realnvp_toys": (RealNVP, TOYS | DENSE | {"couplings": 4}),
    "maf": (MAF, IMAGES | {"hidden_dims": [12], "steps": 2}),
    "iaf": (MAF, IMAGES | {"hidden_dims": [12], "steps": 2, "direction": "sampling"}),
    "maf_toys": (MAF, TOYS | {"hidden_dims": [12], "steps": 2}),
    "nsf": (NSF, IMAGES | SMALL),
    "nsf_autoregressive": (NSF, IMAGES | SMALL | {"transform": "autoregressive"}),
    "nsf_toys": (NSF, TOYS | SMALL | {"transform": "autoregressive"}),
    "glow": (Glow, IMAGES | CONV | {"steps": 2, "conditional": True}),
    "glow_plain": (Glow, IMAGES | CONV | SPLINE | {"steps": 1, "mixing": "plain"}),
    "glow_toys": (Glow, TOYS | DENSE | {"steps": 4, "mixing": "shuffle", "conditional": True}),
}


def small(name: str, **options: Any) -> Any:
    """A flow with few weights, always the same ones."""
    kind, own = METHODS[name]
    torch.manual_seed(1)
    return kind(**own | options)


def moved(name: str, **options: Any) -> Any:
    """One whose weights are those of no fresh flow: fresh couplings are the identity."""
    method = small(name, **options)
    with torch.no_grad():
        for p in method.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return method


def batch(method: Any, n: int = 8, seed: int = 2) -> dict[str, Tensor]:
    """Images as the method takes them."""
    generator = torch.Generator().manual_seed(seed)
    c, side = method.hparams["channels"], method.hparams["image_size"]
    if side == 1:
        image = torch.randn(n, c, 1, 1, generator=generator) * 2
    else:
        image = torch.randint(0, 256, (n, c, side, side), generator=generator) / 255
    return {"image": image, "label": torch.arange(n) % 10, "index": torch.arange(n)}


def own_noise(image: Tensor) -> Tensor:
    """Noise that belongs to the image, wherever in the batch it stands."""
    return (1000 * image.sin()).frac().abs()
