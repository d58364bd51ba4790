"""Networks of GANs: `generators`, their norms in `modulation`, `critics`, and `class_means`."""
