"""The flows at small size, and programs that run on one process and on two."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from genlab import distributed
from genlab.methods.glow import Glow
from genlab.methods.nice import NICE
from genlab.methods.realnvp import RealNVP

IMAGES: dict[str, Any] = {"channels": 1, "image_size": 8}
TOYS: dict[str, Any] = {"channels": 2, "image_size": 1, "preprocess": "none"}
DENSE: dict[str, Any] = {"network": "mlp", "hidden_dims": [12]}
CONV: dict[str, Any] = {"scales": 2, "width": 6}
SPLINE: dict[str, Any] = {"coupling": "spline", "bins": 4}
METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "nice": (NICE, IMAGES | {"hidden_dims": [12, 12]}),
    "realnvp": (RealNVP, IMAGES | CONV | {"couplings": 2, "blocks": 1}),
    "realnvp_spline": (RealNVP, IMAGES | DENSE | SPLINE | {"couplings": 3, "alpha": 1e-6}),
    "realnvp_toys": (RealNVP, TOYS | DENSE | {"couplings": 4}),
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


class _Step(nn.Module):
    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method = method

    def forward(self, data: dict[str, Tensor]) -> Tensor:
        return self.method.training_step(data, 0)["loss"]


def three_steps(name: str, rank: int, world: int) -> dict[str, Any]:
    """Losses, gradients of every step and the whole state; ActNorm starts in the first."""
    method = small(name).double()
    method.cell_noise = own_noise
    step: Any = _Step(method) if world == 1 else DistributedDataParallel(_Step(method))
    optimizer = torch.optim.SGD(method.parameters(), 1e-4, momentum=0.9)
    figures, gradients = [], []
    for count in range(3):
        whole = batch(method, 8, seed=count)
        share = {key: value.chunk(world)[rank] for key, value in whole.items()}
        share["image"] = share["image"].double()
        optimizer.zero_grad()
        loss = step(share)
        loss.backward()
        gradients.append({n: p.grad.clone() for n, p in method.named_parameters()})
        optimizer.step()
        figures.append(distributed.all_reduce_sum(loss.detach()) / world)
    return {"loss": torch.stack(figures), "grad": gradients, "state": dict(method.state_dict())}


def every(rank: int, world: int) -> Any:
    """`three_steps` of one flow of each kind."""
    names = ("nice", "realnvp", "realnvp_spline", "glow")
    return {name: three_steps(name, rank, world) for name in names}
