"""torchvision's names of tensors, and timm's for the same network."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import Tensor

Names = list[tuple[str, str]]

_VIT: Names = [
    (r"\bconv_proj\.", "patch_embed.proj."),
    (r"\bclass_token$", "cls_token"),
    (r"\bencoder\.pos_embedding$", "pos_embed"),
    (r"\bencoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"\bencoder\.ln\.", "norm."),
    (r"\bln_([12])\.", r"norm\1."),
    (r"\bself_attention\.in_proj_", "attn.qkv."),
    (r"\bself_attention\.out_proj\.", "attn.proj."),
    (r"\bmlp\.(?:linear_1|0)\.", "mlp.fc1."),
    (r"\bmlp\.(?:linear_2|3)\.", "mlp.fc2."),
    (r"\bheads\.head\.", "head."),
]
_CONVNEXT: Names = [
    (r"\bfeatures\.0\.(\d)\.", r"stem.\1."),
    *((rf"\bfeatures\.{2 * n}\.(\d)\.", rf"stages.{n}.downsample.\1.") for n in (1, 2, 3)),
    *((rf"\bfeatures\.{2 * n + 1}\.(\d+)\.", rf"stages.{n}.blocks.\1.") for n in (0, 1, 2, 3)),
    (r"\blayer_scale$", "gamma"),
    (r"\bblock\.0\.", "conv_dw."),
    (r"\bblock\.2\.", "norm."),
    (r"\bblock\.3\.", "mlp.fc1."),
    (r"\bblock\.5\.", "mlp.fc2."),
    (r"\bclassifier\.0\.", "head.norm."),
    (r"\bclassifier\.2\.", "head.fc."),
]

# a name that only this family of torchvision's has, and its names
_FAMILIES = [
    (r"\bencoder_layer_0\.", _VIT),
    (r"\bfeatures\.1\.0\.layer_scale$", _CONVNEXT),
]


def timms(tensors: dict[str, Tensor], own: Iterable[str] = ()) -> dict[str, Tensor]:
    """Tensors under timm's names and in timm's shapes; those of other networks as they are.

    Args:
        tensors: tensors of a file, with any prefix.
        own: names of the model to fill; torchvision's own network keeps torchvision's names.
    """
    for mark, names in _FAMILIES:
        if _any(mark, tensors) and not _any(mark, own):
            return dict(_renamed(name, value, names) for name, value in tensors.items())
    return tensors


def _any(pattern: str, names: Iterable[str]) -> bool:
    return any(re.search(pattern, name) for name in names)


def _renamed(name: str, value: Tensor, names: Names) -> tuple[str, Tensor]:
    for pattern, new in names:
        name = re.sub(pattern, new, name)
    return name, value.flatten() if name.endswith(".gamma") else value  # (C, 1, 1) -> (C,)
