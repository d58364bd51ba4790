"""Plain modules: encoders, decoders, heads. No Lightning, no objective."""

from genlab.networks.autoencoder import (
    ConvDecoder,
    ConvEncoder,
    ResidualBlock,
)
from genlab.networks.ema import EMA
from genlab.networks.encoder import Encoder, encoder
from genlab.networks.fuse import fuse_conv_bn
from genlab.networks.mlp import activation, mlp
from genlab.networks.vector import ClassMap, SharedScale, image_decoder, image_encoder

__all__ = [
    "EMA",
    "ClassMap",
    "ConvDecoder",
    "ConvEncoder",
    "Encoder",
    "ResidualBlock",
    "SharedScale",
    "activation",
    "encoder",
    "fuse_conv_bn",
    "image_decoder",
    "image_encoder",
    "mlp",
]
