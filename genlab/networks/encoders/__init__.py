"""Encoders: a backbone by name behind a typed face, for CNNs and ViTs of any image size."""
