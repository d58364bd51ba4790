"""Encoders: a backbone by name behind a typed face, for CNNs and ViTs of any image size.

`factory` makes an encoder, `backbones` its network, found by `naming`: timm's, one of a plugin, or
genlab's own (`small_cnn`, `lenet`, `plain_mlp`, `nin`, `airbench`, `wide_resnet`, `cifar_resnet`,
`conv_mixer`).
`stems` adapts timm networks to small images, `tokens` and `attention` read a ViT, `normalization`
is the first step, `options` compares a network with that of its pretrained weights, `freezing` and
`fusing` change trained ones, `stages` reads inner features.
"""
