"""Networks of GANs: `generators` and `critics`."""
