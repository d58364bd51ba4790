"""Plain modules: encoders, decoders, heads. No Lightning, no objective."""

from genlab.networks.autoencoder import (
    ConvDecoder,
    ConvEncoder,
    ResidualBlock,
)
from genlab.networks.critic import (
    clip_weights,
    critic,
    normalises_over_the_batch,
    spectrally_normalised,
)
from genlab.networks.ema import EMA
from genlab.networks.encoder import Encoder, encoder
from genlab.networks.fuse import fuse_conv_bn
from genlab.networks.generator import generator
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
    "clip_weights",
    "critic",
    "encoder",
    "fuse_conv_bn",
    "generator",
    "image_decoder",
    "image_encoder",
    "mlp",
    "normalises_over_the_batch",
    "spectrally_normalised",
]
