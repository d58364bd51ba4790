"""Networks as plain modules, without Lightning and without an objective.

`encoders` (a backbone by name), `autoencoders` (coders, quantizers, priors), `latents` (a VAE's
priors and posteriors), `flows`, `gan` and `denoisers` (of a noisy image and a time); `odes`
(solvers); `latent_space` (an autoencoder in the place of pixels); and what they share: `norms`,
`layers`, `mlps`, `ema`, `chunks` (batches larger than memory), `queue`, `bank` and
`split_batch_norm` (MoCo),
`clusters` (DeepCluster), `prototypes` (DINO), `pending` (what batches leave to a step), `multicrop`
(views of several sizes), `positions` (of patches), `token_decoders` (MAE, I-JEPA),
`pseudo_label_rules` (FixMatch), `interpolation`, `modes` (eval mode for a while), `functional`,
`arguments`.
`sub_pixel` is a decoder, `channelwise` a dense layer of maps, `split_backbone` two networks in one,
`counted_norms` batch norm of some rows.
"""

from genlab.networks.autoencoders.conv import (
    ConvDecoder,
    ConvEncoder,
    ResidualBlock,
)
from genlab.networks.autoencoders.image_coders import (
    ClassMap,
    SharedScale,
    image_decoder,
    image_encoder,
)
from genlab.networks.ema import EMA
from genlab.networks.encoders.factory import Encoder, encoder
from genlab.networks.encoders.fusing import fuse_conv_bn
from genlab.networks.gan.critics import (
    clip_weights,
    constrain,
    critic,
    normalises_over_the_batch,
    spectrally_normalised,
)
from genlab.networks.gan.generators import generator
from genlab.networks.layers import activation
from genlab.networks.mlps import mlp

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
    "constrain",
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
