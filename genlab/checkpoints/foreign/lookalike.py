"""Recognition of well-known networks, to name a file's network when it does not fit."""

from __future__ import annotations

import difflib
from functools import cache

import timm
import torch

from genlab.checkpoints.foreign import layouts
from genlab.checkpoints.foreign.layouts import Shapes, Tensors

_KNOWN = """
    resnet18 resnet34 resnet50 resnet101 densenet121 vgg16 efficientnet_b0 mobilenetv3_large_100
    vit_tiny_patch16_224 vit_small_patch16_224 vit_base_patch16_224 convnext_tiny
    swin_tiny_patch4_window7_224
"""


def looks_like(places: dict[str, Tensors]) -> str | None:
    """The largest of the known networks of which the file holds nine tenths of the tensors."""
    best: tuple[int, str | None] = (0, None)
    for name in _KNOWN.split():
        shapes = shapes_of_timm(name)
        found = layouts.candidates(places, shapes)
        if found and found[0].matched[0] >= 0.9 * len(shapes):
            best = max(best, (found[0].matched[1], name), key=lambda one: one[0])
    return best[1]


def fits_exactly(state: Tensors, name: str) -> list[str]:
    """Names of the nearest timm networks all of whose tensors a state holds.

    Args:
        state: a backbone's tensors under timm's names.
        name: the network that they do not fit.
    """
    near = difflib.get_close_matches(name, timm.list_models(), n=12, cutoff=0.5)
    shapes = {other: shapes_of_timm(other) for other in near if other != name}
    heads = ("head.", "fc.", "classifier.")
    held = {n for n in state if not n.startswith(heads)}
    fitting = [
        other
        for other, own in shapes.items()
        if all(n in state and state[n].shape == shape for n, shape in own.items())
        and held <= own.keys()
    ]
    return fitting[:2]


@cache
def shapes_of_timm(name: str) -> Shapes:
    """Shapes of a network built without memory for its weights, on torch's meta device."""
    with torch.device("meta"):
        return layouts.shapes_of(timm.create_model(name, num_classes=0))
