"""Files in the layouts of other repositories, made from a timm model's weights.

Each entry takes the weights and a second copy of other values, and returns what that repository's
code hands to ``torch.save``. The backbone's values are the first copy's, except where the entry's
name says otherwise; whoever loads the second copy by mistake gets other features.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Tensors = dict[str, Tensor]
Made = Callable[[Tensors, Tensors], Any]


def under(prefix: str, state: Tensors) -> Tensors:
    return {prefix + name: value for name, value in state.items()}


def bare(state: Tensors) -> Tensors:
    """Without the classifier."""
    return {n: v for n, v in state.items() if not n.startswith(("fc.", "head."))}


def projector(prefix: str, width: int = 512) -> Tensors:
    """A projector of three layers whose names end as classifiers' may."""
    layers = {f"{i}.weight": torch.randn(width, width) for i in (0, 3)}
    return under(prefix, layers | {"6.weight": torch.randn(128, width)})


def with_projector(state: Tensors) -> Tensors:
    """A ResNet whose ``fc`` is a projector."""
    return bare(state) | projector("fc.")


def numbered(state: Tensors, children: list[str]) -> Tensors:
    """A ResNet as ``nn.Sequential`` of some of its children."""
    made = {}
    for name, value in bare(state).items():
        child, _, rest = name.partition(".")
        made[f"{children.index(child)}.{rest}"] = value
    return made


PLAIN_CHILDREN = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
NO_POOL = [name for name in PLAIN_CHILDREN if name != "maxpool"]
CIFAR = [name for name in NO_POOL if name != "relu"]


def lightning(state: Tensors, **more: Any) -> dict[str, Any]:
    return {"state_dict": state, "pytorch-lightning_version": "2.6.0", "epoch": 9} | more


OPTIMIZER = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}

COMMON: dict[str, Made] = {
    "timm or torchvision": lambda a, b: a,
    "timm train": lambda a, b: {
        "state_dict": a,
        "state_dict_ema": b,
        "args": argparse.Namespace(lr=0.1),
        "optimizer": OPTIMIZER,
    },
    "ema only": lambda a, b: {"model_ema": a},
    "DDP": lambda a, b: {"state_dict": under("module.", a)},
    "compiled DDP": lambda a, b: under("module._orig_mod.", a),
    "DDP compiled": lambda a, b: under("_orig_mod.module.", a),
    "compiled inside": lambda a, b: {
        re.sub(r"^(layer1|blocks)\.", r"\1._orig_mod.", n): v for n, v in a.items()
    },
    "SimCLR (backbone.)": lambda a, b: {"state_dict": under("backbone.", with_projector(a))},
    "SimCLR (encoder.)": lambda a, b: under("encoder.", bare(a)) | projector("projector."),
    "BYOL (lucidrains)": lambda a, b: (
        under("net.", a)
        | under("online_encoder.net.", a)
        | projector("online_encoder.projector.net.")
        | under("target_encoder.net.", b)
        | projector("online_predictor.net.")
    ),
    "BYOL (two networks)": lambda a, b: {
        "online_network_state_dict": under("encoder.", bare(a)) | projector("projetion.net."),
        "target_network_state_dict": under("encoder.", bare(b)) | projector("projetion.net."),
        "optimizer_state_dict": OPTIMIZER,
    },
    "SimSiam": lambda a, b: {
        "arch": "x",
        "state_dict": under("module.encoder.", with_projector(a)) | projector("module.predictor."),
    },
    "MoCo v3": lambda a, b: {
        "state_dict": under("module.base_encoder.", with_projector(a))
        | under("module.momentum_encoder.", with_projector(b))
        | projector("module.predictor.")
    },
    "DINO (teacher)": lambda a, b: {
        "student": under("module.backbone.", bare(b)) | projector("module.head.mlp."),
        "teacher": under("backbone.", bare(a)) | projector("head.mlp."),
        "dino_loss": {"center": torch.zeros(1, 512)},
        "args": argparse.Namespace(arch="x", lr=0.1),
    },
    "DINO (backbone)": lambda a, b: bare(a),
    "DeiT": lambda a, b: {"model": a, "args": argparse.Namespace(model="deit")},
    "Barlow Twins": lambda a, b: {
        "epoch": 3,
        "model": under("module.backbone.", bare(a)) | projector("module.projector."),
    },
    "VICReg": lambda a, b: {"model": under("module.backbone.", bare(a)), "optimizer": OPTIMIZER},
    "SwAV": lambda a, b: {
        "state_dict": under("module.", bare(a))
        | projector("module.projection_head.")
        | {"module.prototypes.weight": torch.randn(3000, 128)}
    },
    "solo-learn": lambda a, b: lightning(
        under("backbone.", bare(a))
        | under("momentum_backbone.", bare(b))
        | projector("projector.")
        | projector("momentum_projector.")
        | {"classifier.weight": torch.randn(10, 512), "queue": torch.randn(2, 64, 128)}
    ),
    "solo-learn (old)": lambda a, b: lightning(
        under("encoder.", bare(a)) | under("momentum_encoder.", bare(b))
    ),
    "Lightning (model.)": lambda a, b: lightning(
        under("model.", a), hyper_parameters={"lr": 0.1}, optimizer_states=[OPTIMIZER]
    ),
    "Lightning (net.)": lambda a, b: lightning(under("net.", a)),
    "Lightning average": lambda a, b: lightning(
        under("net.", a), current_model_state=under("net.", b)
    ),
    "SWA": lambda a, b: {"state_dict": under("model.", a) | under("swa_model.", b)},
    "genlab average": lambda a, b: lightning(
        under("encoder.backbone.", bare(a)) | under("encoder_ema.backbone.", bare(b)),
        live_weights=under("encoder.backbone.", bare(b)),
        genlab={"class_path": "genlab.methods.classifier.Classifier"},
    ),
    "genlab": lambda a, b: lightning(
        under("encoder.backbone.", bare(a))
        | under("encoder_ema.backbone.", bare(b))
        | {"head.weight": torch.randn(10, 512)},
        genlab={"class_path": "genlab.methods.classifier.Classifier"},
    ),
}  # fmt: skip

RESNET: dict[str, Made] = {
    "MoCo v1, v2": lambda a, b: {
        "state_dict": under("module.encoder_q.", with_projector(a))
        | under("module.encoder_k.", with_projector(b))
        | {"module.queue": torch.randn(128, 64), "module.queue_ptr": torch.zeros(1).long()}
    },
    "SimCLR (f.)": lambda a, b: under("f.", numbered(a, NO_POOL)) | projector("g."),
    "lightly": lambda a, b: lightning(
        under("backbone.", numbered(a, PLAIN_CHILDREN)) | projector("projection_head.layers.")
    ),
    "lightly, CIFAR stem": lambda a, b: lightning(
        under("backbone.", numbered(a, CIFAR))
        | under("backbone_momentum.", numbered(b, CIFAR))
        | projector("projection_head.layers.")
    ),
}

VIT: dict[str, Made] = {
    "MAE": lambda a, b: {
        "model": bare(a)
        | {"mask_token": torch.randn(1, 1, 64), "decoder_pos_embed": torch.randn(1, 5, 64)}
        | under("decoder_blocks.0.", {n: v for n, v in a.items() if n.startswith("blocks.0.")}),
        "args": argparse.Namespace(mask_ratio=0.75),
    },
    "lightly": lambda a, b: lightning(
        under("student_backbone.vit.", bare(b)) | under("teacher_backbone.vit.", bare(a))
    ),
    "torchvision": lambda a, b: torchvision_vit(a),
}


def renamed(content: Any) -> Any:
    """The same file with names of nothing: every word of a tensor's name gets two letters more."""
    if not isinstance(content, dict):
        return content
    return {
        ".".join(f"{word}zz" for word in key.split("."))
        if isinstance(value, Tensor)
        else key: renamed(value)
        for key, value in content.items()
    }


def torchvision_vit(state: Tensors) -> Tensors:
    """Timm's names -> torchvision's."""
    for pattern, new in (
        (r"^blocks\.(\d+)\.", r"encoder.layers.encoder_layer_\1."),
        (r"\bnorm([12])\.", r"ln_\1."),
        (r"\battn\.qkv\.", "self_attention.in_proj_"),
        (r"\battn\.proj\.", "self_attention.out_proj."),
        (r"\bmlp\.fc1\.", "mlp.0."),
        (r"\bmlp\.fc2\.", "mlp.3."),
        (r"^norm\.", "encoder.ln."),
        (r"^cls_token", "class_token"),
        (r"^pos_embed", "encoder.pos_embedding"),
        (r"^patch_embed\.proj\.", "conv_proj."),
        (r"^head\.", "heads.head."),
    ):
        state = {re.sub(pattern, new, name): value for name, value in state.items()}
    return state


def original_convnext(name: str) -> str:
    """Timm -> facebookresearch/ConvNeXt."""
    name = name.replace("stem.", "downsample_layers.0.").replace("head.norm.", "norm.")
    name = name.replace("head.fc.", "head.")
    if ".downsample." in name:
        stage = int(name.split(".")[1])
        return f"downsample_layers.{stage}.{name.split('.downsample.')[1]}"
    name = name.replace(".blocks.", ".").replace("conv_dw", "dwconv")
    return name.replace("mlp.fc1", "pwconv1").replace("mlp.fc2", "pwconv2")
