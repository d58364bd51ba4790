"""Pure functions: tensors in, tensor out. Sum over data dimensions, one value per sample."""

from genlab.losses.iwae import iwae_bound
from genlab.losses.kl import free_bits, kl_normal, kl_standard_normal, normal_log_prob
from genlab.losses.likelihood import (
    LIKELIHOODS,
    bernoulli_nll,
    bits_per_dim,
    discretized_logistic_nll,
    gaussian_nll,
    maps_per_channel,
    pixel_mean,
    pixel_nll,
)
from genlab.losses.vq import code_nll, commitment

__all__ = [
    "LIKELIHOODS",
    "bernoulli_nll",
    "bits_per_dim",
    "code_nll",
    "commitment",
    "discretized_logistic_nll",
    "free_bits",
    "gaussian_nll",
    "iwae_bound",
    "kl_normal",
    "kl_standard_normal",
    "maps_per_channel",
    "normal_log_prob",
    "pixel_mean",
    "pixel_nll",
]
