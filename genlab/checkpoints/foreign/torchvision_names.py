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

_EFFICIENTNET: Names = [
    (r"\bfeatures\.0\.0\.", "conv_stem."),
    (r"\bfeatures\.0\.1\.", "bn1."),
    *((rf"\bfeatures\.{n + 1}\.(\d+)\.block\.", rf"blocks.{n}.\1.") for n in range(7)),
    (r"\bfeatures\.\d\.0\.", "conv_head."),
    (r"\bfeatures\.\d\.1\.", "bn2."),
    (r"\b\d\.fc1\.", "se.conv_reduce."),
    (r"\b\d\.fc2\.", "se.conv_expand."),
    (r"\bclassifier\.1\.", "classifier."),
]

_MOBILENET_V3: Names = [
    (r"\bfeatures\.0\.0\.", "conv_stem."),
    (r"\bfeatures\.0\.1\.", "bn1."),
    (r"\bfeatures\.(\d+)\.block\.", r"blocks.\1."),
    (r"\bfeatures\.(\d+)\.0\.", r"blocks.\1.conv."),
    (r"\bfeatures\.(\d+)\.1\.", r"blocks.\1.bn1."),
    (r"\b\d\.fc1\.", "se.conv_reduce."),
    (r"\b\d\.fc2\.", "se.conv_expand."),
    (r"\bclassifier\.0\.", "conv_head."),
    (r"\bclassifier\.3\.", "classifier."),
]
_MOBILENET_V2: Names = [
    (r"\bfeatures\.0\.0\.", "conv_stem."),
    (r"\bfeatures\.0\.1\.", "bn1."),
    (r"\bfeatures\.18\.0\.", "conv_head."),
    (r"\bfeatures\.18\.1\.", "bn2."),
    (r"\bfeatures\.1\.conv\.1\.", "blocks.1.1.0."),
    (r"\bfeatures\.1\.conv\.2\.", "blocks.1.1.1."),
    (r"\bfeatures\.(\d+)\.conv\.2\.", r"blocks.\1.2.0."),
    (r"\bfeatures\.(\d+)\.conv\.3\.", r"blocks.\1.2.1."),
    (r"\bfeatures\.(\d+)\.conv\.", r"blocks.\1."),
    (r"\bclassifier\.1\.", "classifier."),
]
_COUNTED = [_MOBILENET_V3, _MOBILENET_V2]
# Blocks of each of timm's stages, which torchvision counts through from 1.
_STAGES = {17: (1, 2, 3, 4, 3, 3, 1), 16: (1, 2, 3, 4, 2, 3, 1), 12: (1, 2, 3, 2, 3, 1)}

# a name that only this family of torchvision's has, and its names
_FAMILIES = [
    (r"\bencoder_layer_0\.", _VIT),
    (r"\bfeatures\.1\.0\.layer_scale$", _CONVNEXT),
    (r"\bfeatures\.1\.0\.block\.0\.0\.", _EFFICIENTNET),
    (r"\bfeatures\.1\.block\.0\.0\.", _MOBILENET_V3),
    (r"\bfeatures\.1\.conv\.0\.0\.", _MOBILENET_V2),
]
# Convolutions of an inverted residual block in their order, by which of them are depthwise.
_CONVOLUTIONS = {
    (False,): ["conv"],
    (True, False): ["conv_dw", "conv_pw"],
    (False, False): ["conv_exp", "conv_pwl"],
    (False, True, False): ["conv_pw", "conv_dw", "conv_pwl"],
}
# Epsilon of batch norm, by a name that only such networks have; the first that is found counts.
_EPSILONS = [
    (r"\bfeatures\.1\.2\.block\.1\.fc1\.", 1e-3),  # EfficientNet-B5 to B7
    (r"\bfeatures\.1\.0\.block\.1\.fc1\.", 1e-5),  # EfficientNet-B0 to B4
    (r"\bfeatures\.1\.0\.block\.0\.0\.", 1e-3),  # EfficientNetV2
    (r"\bfeatures\.1\.block\.0\.0\.", 1e-3),  # MobileNetV3
    (r"\bfeatures\.1\.conv\.0\.0\.", 1e-5),  # MobileNetV2
]


def timms(tensors: dict[str, Tensor], own: Iterable[str] = ()) -> dict[str, Tensor]:
    """Tensors under timm's names and in timm's shapes; those of other networks as they are.

    Args:
        tensors: tensors of a file, with any prefix.
        own: names of the model to fill; torchvision's own network keeps torchvision's names.
    """
    for mark, names in _FAMILIES:
        if _any(mark, tensors) and not _any(mark, own):
            renamed = dict(_renamed(n, value, names) for n, value in tensors.items())
            return _in_blocks(_in_stages(renamed) if names in _COUNTED else renamed)
    return tensors


def epsilon(names: Iterable[str], own: Iterable[str] = ()) -> float | None:
    """Epsilon of batch norm in torchvision's network; None of others and where timm's is the same.

    Args:
        names: names in a file.
        own: likewise, see `timms`.
    """
    names, own = list(names), list(own)
    found = (value for mark, value in _EPSILONS if _any(mark, names) and not _any(mark, own))
    return next(found, None)


def _in_stages(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """``blocks.3.``, the third of all -> ``blocks.1.1.``, the second of its stage."""
    found = (re.search(r"\bblocks\.(\d+)\.", name) for name in tensors)
    stages = _STAGES.get(max(int(one[1]) for one in found if one), ())
    places = [f"blocks.{s}.{b}." for s, count in enumerate(stages) for b in range(count)]
    if not places:
        return tensors
    return {
        re.sub(r"\bblocks\.(\d+)\.", lambda one: places[int(one[1]) - 1], name): value
        for name, value in tensors.items()
    }


def _in_blocks(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """``blocks.1.0.2.0.weight``, the third part's convolution -> ``blocks.1.0.conv_pwl.weight``."""
    blocks: dict[str, dict[str, bool]] = {}  # the parts that convolve, and whether depthwise
    for name, value in tensors.items():
        if found := re.fullmatch(r"(.*\bblocks\.\d+\.\d+)\.(\d)\.0\.weight", name):
            blocks.setdefault(found[1], {})[found[2]] = value.shape[1:2] == (1,)
    new: dict[str, str] = {}
    for block, parts in blocks.items():
        kinds = _CONVOLUTIONS.get(tuple(parts.values()), [])
        for number, (part, kind) in enumerate(zip(parts, kinds, strict=False), 1):
            new |= {
                f"{block}.{part}.0": f"{block}.{kind}",
                f"{block}.{part}.1": f"{block}.bn{number}",
            }
    split = ((*name.rpartition("."), value) for name, value in tensors.items())
    return {f"{new.get(layer, layer)}{dot}{kind}": value for layer, dot, kind, value in split}


def _any(pattern: str, names: Iterable[str]) -> bool:
    return any(re.search(pattern, name) for name in names)


def _renamed(name: str, value: Tensor, names: Names) -> tuple[str, Tensor]:
    for pattern, new in names:
        name = re.sub(pattern, new, name)
    if name.endswith(".gamma"):
        value = value.flatten()  # (C, 1, 1) -> (C,)
    elif name.endswith("conv_head.weight") and value.ndim == 2:
        value = value[:, :, None, None]  # (O, I) -> (O, I, 1, 1)
    return name, value
