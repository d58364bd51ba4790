"""Normalizing flows: invertible layers with their log-determinants."""
