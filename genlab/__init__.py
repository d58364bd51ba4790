"""genlab: one lab for learning from images with few or no labels.

Importing genlab imports nothing heavy: the public names below load on first use (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genlab import augment, callbacks, data, losses, methods, metrics, networks, optim
    from genlab.checkpoints import load

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "augment",
    "callbacks",
    "data",
    "load",
    "losses",
    "methods",
    "metrics",
    "networks",
    "optim",
]


def __getattr__(name: str) -> Any:
    if name == "load":
        return import_module("genlab.checkpoints").load
    if name in __all__:
        return import_module(f"genlab.{name}")
    raise AttributeError(f"module 'genlab' has no attribute {name!r}")
