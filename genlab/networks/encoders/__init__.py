"""Encoders: a backbone by name behind a typed face, for CNNs and ViTs of any image size.

`factory` makes an encoder, `backbones` finds the network: timm's, one of a plugin, or genlab's own
(`small_cnn`, `lenet`, `nin`, `airbench`, `wide_resnet`, `cifar_resnet`). `stems` adapts timm
networks to small images, `normalization` is the first step, `freezing` and `fusing` change trained
ones.
"""
