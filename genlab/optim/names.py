"""Optimisers of timm and torch by name, and genlab's own."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import lightning as L
import timm.optim
import torch
from torch import Tensor

from genlab.optim.lars import LARS

OURS: dict[str, Any] = {"lars": LARS}  # before timm's of the same name
TORCH: dict[str, Any] = {
    name.lower(): cls
    for name, cls in vars(torch.optim).items()
    if isinstance(cls, type)
    and issubclass(cls, torch.optim.Optimizer)
    and cls not in (torch.optim.Optimizer, torch.optim.SparseAdam)  # its gradients are sparse
}
ONE_GROUP = ("lbfgs", "torch.lbfgs")  # no options per parameter, several closures a step


def known() -> list[str]:
    """All names: timm's, torch's that timm lacks, and torch's with ``torch.`` before them."""
    ours: list[str] = list(timm.optim.list_optimizers())  # type: ignore[arg-type]
    return [*ours, *(n for n in TORCH if n not in ours), *(f"torch.{n}" for n in TORCH)]


def is_known(name: str) -> bool:
    """True if `create` knows the name; ``lookahead_`` may precede timm's names."""
    bare = name.removeprefix("lookahead_")
    return name in known() or (bare != name and bare in timm.optim.list_optimizers())


def create(name: str, groups: list[Any], lr: float, extra: dict[str, Any]) -> torch.optim.Optimizer:
    """The optimiser, over parameters or parameter groups."""
    cls = _of_torch(name)
    if cls is not None:
        return cls(groups, lr=lr, **extra)
    bare = name.removeprefix("lookahead_")
    if bare in OURS:
        made = OURS[bare](groups, lr=lr, **extra)
        return made if bare == name else timm.optim.Lookahead(made)
    return timm.optim.create_optimizer_v2(groups, opt=name, lr=lr, **extra)


def accepted(name: str) -> dict[str, Any]:
    """The arguments of an optimiser with their defaults, its parameters apart."""
    cls: Any = _of_torch(name)
    if cls is None:
        bare = name.removeprefix("lookahead_")
        cls = OURS.get(bare) or timm.optim.get_optimizer_class(bare, bind_defaults=False)
    given = inspect.signature(cls).parameters
    return {key: one.default for key, one in given.items() if key != "params"}


def second_order(name: str) -> bool:
    """True if the optimiser differentiates the gradient once more (AdaHessian)."""
    if _of_torch(name) is not None:
        return False
    return timm.optim.get_optimizer_info(name.removeprefix("lookahead_")).second_order


def keep_graph(module: L.LightningModule) -> None:
    """Make the module's backward pass differentiable."""

    def backward(loss: Tensor) -> None:
        with warnings.catch_warnings():  # of a cycle that zero_grad breaks at the next step
            warnings.filterwarnings("ignore", "Using backward\\(\\) with create_graph=True")
            loss.backward(create_graph=True)

    module.backward = backward  # type: ignore[method-assign]


def _of_torch(name: str) -> Any:
    if name.startswith("torch."):
        return TORCH[name.removeprefix("torch.")]
    return None if name.removeprefix("lookahead_") in timm.optim.list_optimizers() else TORCH[name]
