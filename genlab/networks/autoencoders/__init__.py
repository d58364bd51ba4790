"""Encoders and decoders of images, quantizers, and priors over codes."""
