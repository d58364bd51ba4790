"""Networks of GANs.

`generators`, their norms in `modulation`, `critics`, `patch_critics`, and `class_means`.
"""
