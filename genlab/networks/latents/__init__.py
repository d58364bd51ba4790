"""Distributions of the latents of a VAE, by name.

`posteriors` (of an image), `priors`, and their `choice`.
"""
