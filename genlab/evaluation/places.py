"""Methods whose features are those of an inner place: a stage of the encoder, or any module."""

from __future__ import annotations

import re
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from genlab.errors import nearest
from genlab.networks import Encoder
from genlab.networks.encoders.stages import POOL, stage_features


class AtStage:
    """A method whose features are those of a stage of its encoder.

    Args:
        method: method with an ``encoder``.
        stage: number of the stage, from 0, the stem.

    Raises:
        ValueError: the method has no encoder of genlab's.
    """

    def __init__(self, method: Any, stage: int) -> None:
        self.method, self.stage, self.device = method, stage, method.device
        if not isinstance(getattr(method, "encoder", None), Encoder):
            raise ValueError(f"{type(method).__name__} has no encoder whose stages can be read")

    def __call__(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, F)."""
        return stage_features(self.method.encoder, self.stage, self.method, image)


class AtModule:
    """A method whose features are the output of one of its modules.

    Args:
        method: method.
        path: the module's dotted name, ``encoder.backbone.2``.

    Raises:
        ValueError: the method has no such module.
    """

    def __init__(self, method: nn.Module, path: str) -> None:
        named: Any = dict(method.named_modules())
        if not path or path not in named:
            close = nearest(path, [name for name in named if name])
            raise ValueError(f"{type(method).__name__} has no module {path}; {close}".rstrip("; "))
        self.method, self.module, self.path = method, named[path], path
        self.device: Any = method.device

    def __call__(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, F): of a map its means over 2 x 2 parts, of tokens their mean.

        Raises:
            ValueError: the features do not pass through the module, or its output is not a tensor.
        """
        found: list[Any] = []
        hook = self.module.register_forward_hook(lambda *given: found.append(given[-1]))
        try:
            self.method(image)
        finally:
            hook.remove()
        if not found or not isinstance(found[-1], Tensor) or len(found[-1]) != len(image):
            raise ValueError(f"{self.path} has no output that can be read")
        x = found[-1]
        if x.ndim == 4:
            return F.adaptive_avg_pool2d(x, min(POOL, x.shape[-1])).flatten(1)
        return x.mean(1) if x.ndim == 3 else x.flatten(1)


def at(method: Any, place: str) -> Any:
    """The method itself, or with the features of a place in it.

    Args:
        method: method.
        place: ``stage 1`` of its encoder, a module's dotted name, or empty.

    Raises:
        ValueError: no such place.
    """
    if not place:
        return method
    stage = re.fullmatch(r"stage (\d+)", place)
    return AtStage(method, int(stage[1])) if stage else AtModule(method, place)
