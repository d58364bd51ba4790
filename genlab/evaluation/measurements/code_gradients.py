"""Gradients through a drawn code of a trained autoencoder, against exact enumeration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genlab.evaluation.measured import Measured, images_of
from genlab.losses import discrete_gradients as gradients
from genlab.networks.autoencoders.gumbel_quantizer import GumbelQuantizer

IMAGES, DRAWS = 20, 200
ESTIMATORS: dict[str, Callable[..., Tensor]] = {
    "reinforce": gradients.reinforce,
    "reinforce_baseline": partial(gradients.reinforce, baseline=True),
    "straight_through": gradients.straight_through,
    "gumbel": gradients.gumbel_softmax,
    "gumbel_cold": partial(gradients.gumbel_softmax, temperature=0.1),
    "gumbel_hard": partial(gradients.gumbel_softmax, hard=True),
}


def measure(method: Any, data: Any, judge: Any = None) -> Measured:
    """Bias and variance of estimated gradients of the squared error through one code.

    One place of the grid, the middle, is drawn; all others have their most probable code. The
    gradient is that of the expected squared error of the image with respect to the place's logits,
    of 20 test images, and each estimate takes one draw of 200.

    Args:
        method: VQVAE with ``codebook: gumbel``.
        data: data module.
        judge: None; it is not used.

    Logs:
        test/gradient_bias_<estimator> (1, lower): squared length of the mean error of the
            estimates over that of the exact gradient, sums over images; without bias about 0.
            ``reinforce``, ``reinforce_baseline``, ``straight_through``, ``gumbel`` (temperature
            1), ``gumbel_cold`` (0.1) and ``gumbel_hard``.
        test/gradient_variance_<estimator> (1, lower): variance of one estimate, summed over
            logits, over the squared length of the exact gradient, sums over images.
        test/gradient_error_<estimator> (1, lower): sum of the two: mean squared error of one draw.

    Raises:
        ValueError: the method has no Gumbel quantiser.
    """
    if not isinstance(getattr(method, "quantizer", None), GumbelQuantizer):
        raise ValueError("code_gradients requires a VQVAE with codebook: gumbel")
    image = images_of(method, data, "test", IMAGES)[0]
    with torch.no_grad():
        found = method.quantizer(method.encoder(image))
    totals = {name: [0.0, 0.0] for name in ESTIMATORS}
    whole = 0.0
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(0)
        for number, picture in enumerate(image):
            value = partial(_errors, method, picture, found.quantized[number])
            logits = found.logits[number]
            logits = logits[:, logits.shape[1] // 2, logits.shape[2] // 2]
            true = gradients.exact(value, logits)
            size = float(true.square().sum())
            whole += size
            for name, estimate in ESTIMATORS.items():
                pair = gradients.bias_and_variance(estimate(value, logits, DRAWS), true)
                totals[name] = [t + size * p for t, p in zip(totals[name], pair, strict=True)]
    figures = {}
    for name, (bias, variance) in totals.items():
        figures[f"gradient_bias_{name}"] = bias / whole
        figures[f"gradient_variance_{name}"] = variance / whole
        figures[f"gradient_error_{name}"] = (bias + variance) / whole
    return Measured(figures)


def _errors(method: Any, image: Tensor, quantized: Tensor, weights: Tensor) -> Tensor:
    """Squared errors of an image whose middle code vector is a mixture of codes.

    Args:
        method: the autoencoder.
        image: (C, H, W).
        quantized: its code vectors (D, h, w).
        weights: mixtures of codes at the middle place, (S, K).

    Returns:
        (S,).
    """
    row, column = quantized.shape[1] // 2, quantized.shape[2] // 2
    place = torch.zeros_like(quantized[:1])
    place[:, row, column] = 1
    vectors = (weights @ method.quantizer.codebook)[:, :, None, None]
    out = method.pixels(method.decoder(quantized * (1 - place) + vectors * place))
    errors: Tensor = (out - image).square().flatten(1).sum(1)
    return errors
