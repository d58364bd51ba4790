"""Probabilistic PCA with a VAE's number of latents: the optimum of a linear one."""

from __future__ import annotations

from typing import Any

from genlab.evaluation.measured import Measured, images_of
from genlab.metrics import ppca

MOST = 60_000  # images of a split


def measure(method: Any, data: Any, judge: Any = None) -> Measured:
    """Likelihood of test images by PPCA of the training images, by closed form and by EM.

    A VAE without hidden layers, with Gaussian pixels of one learned scale, has this optimum;
    test/neg_elbo minus test/ppca_nll says how far from it a VAE ended.

    Args:
        method: method with ``latent_dim`` among its arguments.
        data: data module, not binarised.
        judge: None; it is not used.

    Logs:
        test/ppca_nll (nats, lower): -log p(x) of the test images by PPCA at the optimum of the
            training images, density of pixels in [0, 1], mean over images.
        test/ppca_em_nll (nats, lower): the same by EM.
        test/ppca_scale (intensity): standard deviation of PPCA's noise.

    Raises:
        ValueError: the method has no latents, or as many as pixels.
    """
    latents = getattr(method, "hparams", {}).get("latent_dim")
    if not isinstance(latents, int):
        raise ValueError(f"{type(method).__name__} has no latent_dim; ppca requires one")
    train, test = (
        images_of(method, data, split, MOST)[0].flatten(1).double().cpu()
        for split in ("train", "test")
    )
    best, found = ppca.closed_form(train, latents), ppca.by_em(train, latents)
    return Measured(
        {
            "ppca_nll": float(-best.log_prob(test).mean()),
            "ppca_em_nll": float(-found.log_prob(test).mean()),
            "ppca_scale": float(best.variance.sqrt()),
        }
    )
