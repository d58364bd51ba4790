"""Normalizing flows: invertible layers with their log-determinants.

`image_flow` is the whole model: `dequantise`, then layers, then `latents`. The layers: `bijections`
(chains, squeezes), `couplings` with `coupling_nets` and `splines`, `autoregressive` with `masked`,
`actnorm`, `invertible_conv`, `whitening`.
"""
