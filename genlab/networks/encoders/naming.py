"""Names of backbones: models registered with timm, genlab's own, classes of anybody's.

A class needs little to be a backbone: its constructor takes ``in_chans`` (and ``image_size``, if it
has a parameter of that name), and ``forward`` maps images (B, C, H, W) to one vector each, (B, F).
What else it may have, and what is done without it:

    forward_features   (B, C, H, W) -> (B, F', h, w); else there are no feature maps
    num_features       F', where a feature map may be (B, h, w, F'); else it is (B, F', h, w)
    group_matcher      timm's, the layers in order; else the network is one stage for freezing, and
                       every kernel is a layer for ``layer_decay``
    set_grad_checkpointing   timm's; else ``grad_checkpointing`` is refused
"""

from __future__ import annotations

import difflib
import re
from typing import Any, NamedTuple

import timm
from torch import nn

from genlab import recipes
from genlab.networks.encoders.airbench import Airbench
from genlab.networks.encoders.cifar_resnet import CIFARResNet
from genlab.networks.encoders.conv_mixer import PatchedConvMixer
from genlab.networks.encoders.lenet import LeNet
from genlab.networks.encoders.nin import NiN
from genlab.networks.encoders.plain_mlp import PlainMLP
from genlab.networks.encoders.small_cnn import SmallCNN
from genlab.networks.encoders.wide_resnet import WideResNet

# example of a name, pattern of the names, class; a pattern's groups are arguments
FAMILIES: tuple[tuple[str, str, type[nn.Module]], ...] = (
    ("small_cnn", "small_cnn", SmallCNN),
    ("lenet", "lenet", LeNet),
    ("mlp", "mlp", PlainMLP),
    ("nin", "nin", NiN),
    ("airbench", "airbench", Airbench),
    ("wrn_28_2", r"wrn_(?P<depth>\d+)_(?P<width>\d+)", WideResNet),
    ("resnet20_cifar", r"resnet(?P<depth>\d+)_cifar", CIFARResNet),
    ("convmixer_256_8", r"convmixer_(?P<dim>\d+)_(?P<depth>\d+)", PatchedConvMixer),
)


class Named(NamedTuple):
    """A class that a name stands for, and the arguments that the name holds."""

    kind: type[nn.Module]
    arguments: dict[str, Any]


def named_class(name: str) -> Named | None:
    """The class that a name stands for, or None for a model that `timm.create_model` makes.

    Args:
        name: a model registered with timm, with or without a tag; a name of `FAMILIES`; the dotted
            name of a class; the short name of a plugin's class; a model that a plugin registers.

    Raises:
        RecipeError: a dotted name of no backbone, or from a file and not trusted, see `load_class`.
        ValueError: an unknown name, with the nearest ones.
    """
    if timm.is_model(name.partition(".")[0]):
        return None
    for _, pattern, kind in FAMILIES:
        if found := re.fullmatch(pattern, name):
            return Named(kind, {key: int(value) for key, value in found.groupdict().items()})
    if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", name) or name in plugin_classes():
        return Named(recipes.load_class(plugin_classes().get(name, name), nn.Module), {})
    recipes.import_plugins("networks", name.partition(".")[0])
    if timm.is_model(name.partition(".")[0]):
        return None
    own = (example for example, _, _ in FAMILIES)
    known = [*own, *plugin_classes(), *timm.list_models()]
    longer = [other for other in known if name and other.startswith(name)]
    near = longer[:3] or difflib.get_close_matches(name, known, n=3)
    shown = recipes.without_credentials(name)
    raise ValueError(f"no encoder {shown!r}" + (f"; nearest: {', '.join(near)}" if near else ""))


def plugin_classes() -> dict[str, str]:
    """Short name -> class path of the networks of declared plugins."""
    found = recipes.classes("networks")
    return {name: path for name, path in found.items() if not path.startswith("genlab.")}
