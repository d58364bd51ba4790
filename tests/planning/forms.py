"""Arithmetic of networks by formulas on paper."""

from __future__ import annotations

from typing import NamedTuple

from genlab import recipes
from genlab.planning.fake import fake_step

FORWARD_BACKWARD = 3  # times forward: the gradient of inputs, and that of weights
TOKENS, WIDTH, DEPTH = 197, 384, 12  # of ViT-S/16 at 224 pixels
LAYERS = DEPTH * (12 * WIDTH**2 * TOKENS + 2 * TOKENS**2 * WIDTH)
PATCHES = 196 * (16 * 16 * 3) * WIDTH


class Form(NamedTuple):
    """A part's operations for an image of a step, by hand.

    Args:
        name: network.
        text: formula; a product counts as two operations.
        words: recipe's name and overrides.
        part: part of the method.
        value: the formula's.
    """

    name: str
    text: str
    words: tuple[str, ...]
    part: str
    value: float

    def counted(self) -> float:
        """Operations that a plan counts."""
        step = fake_step(recipes.resolve([self.words[0]], list(self.words[1:])))
        return step.flops[self.part] / step.images


ENCODER = Form(
    "encoder of a VAE on digits", "2 (3 (64 x 128 + 128 x 16) - 64 x 128)", ("vae/digits",),
    "encoder", 2 * (FORWARD_BACKWARD * (64 * 128 + 128 * 16) - 64 * 128),
)  # fmt: skip
DECODER = Form(
    "decoder of a VAE on digits", "2 x 3 (8 x 128 + 128 x 64)", ("vae/digits",),
    "decoder", 2 * FORWARD_BACKWARD * (8 * 128 + 128 * 64),
)  # fmt: skip
QUEUE = Form(
    "logits of MoCo's queue", "2 x 2 x D (K + 1), D = 64, K = 1,024",
    ("moco/digits", "model.symmetric=false"), "loss", 2 * 2 * 64 * (1024 + 1),
)  # fmt: skip
RESNET50 = Form(
    "ResNet-50 at 224 px", "2 (3 x (4.09 G - 2048 x 1000) - 7 x 7 x 3 x 64 x 112 x 112)",
    ("classifier/imagenet_resnet50", "data.batch_size=2", "data.root=nowhere"), "encoder",
    2 * (FORWARD_BACKWARD * (4.09e9 - 2048 * 1000) - 7 * 7 * 3 * 64 * 112 * 112),
)  # fmt: skip
VIT_SMALL = Form(
    "momentum copy of ViT-S/16, two views at 224 px",
    "2 x 2 (12 (12 W^2 T + 2 T^2 W) + 196 x 768 W), W = 384, T = 197",
    ("moco_v3/imagenet_vit_small", "data.batch_size=4", "data.root=nowhere"), "encoder_ema",
    2 * 2 * (LAYERS + PATCHES),
)  # fmt: skip
RESNET18 = Form(
    "ResNet-18 at 32 px", "2 (3 x 0.556 G - 3 x 3 x 3 x 64 x 32 x 32)",
    ("classifier/cifar10_resnet18", "data.batch_size=4"), "encoder",
    2 * (FORWARD_BACKWARD * 0.556e9 - 3 * 3 * 3 * 64 * 32 * 32),
)  # fmt: skip
FORMS = [ENCODER, DECODER, QUEUE, RESNET18, RESNET50, VIT_SMALL]
