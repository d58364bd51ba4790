"""Distributions of the latents of a VAE, by name.

`posteriors` (of an image), `priors`, their `choice`, and `levels` (of a hierarchy).
"""
