"""Views of several sizes through one network: a pass for each size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from genlab.contracts import data_of
from genlab.networks.encoders.backbones import probe
from genlab.networks.encoders.factory import Encoder


def by_size(network: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> list[Tensor]:
    """Outputs of all views, in their order: V x (B, C, h, w) -> V x (B, ...).

    All views of one size go through the network together, whatever stands between them, so that
    batch norm sees one batch for each size. Their order in it is that of the views.

    Source: Caron et al. 2020, arXiv:2006.09882; facebookresearch/swav.
    Departure: there only neighbours of one size are together.
    """
    groups: dict[int, list[int]] = {}
    for k, view in enumerate(views):
        groups.setdefault(view.shape[-1], []).append(k)
    found: dict[int, Tensor] = {}
    for places in groups.values():
        out = network(torch.cat([views[k] for k in places]))
        found |= zip(places, out.chunk(len(places)), strict=True)
    return [found[k] for k in range(len(views))]


def check_sizes(encoder: Encoder, trainer: Any) -> None:
    """Refuse an encoder that cannot take all sizes of the views that it will be trained on.

    Raises:
        ValueError: with the size, and for a ViT the setting with which it can.
    """
    views = getattr(data_of(trainer), "views", None)
    sides = {side for side, _ in views.crops(encoder.image_size)} if views is not None else set()
    name, network = encoder.architecture["name"], encoder.backbone
    for side in sorted(sides - {encoder.image_size}):
        try:
            probe(name, network, len(encoder.normalize.mean), side)
        except ValueError as error:
            fixed = getattr(network, "dynamic_img_size", None) is False
            advice = "; set encoder_kwargs.dynamic_img_size: true" if fixed else ""
            whole = "; data.views.small.size sets the size" * ("whole patches" in str(error))
            raise ValueError(f"data.views of {side} px: {error}{whole}{advice}") from None
