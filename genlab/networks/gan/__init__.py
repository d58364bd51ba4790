"""Networks of GANs: `generators`, their norms in `modulation`, and `critics`."""
