"""Largest eigenvalue of the Hessian of a classifier's loss, by Lanczos' method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.evaluation.measured import Measured, labelled

MOST = 500


def measure(method: Any, data: Any, judge: Any = None) -> Measured:
    """Sharpness of the cross entropy of training images at the trained weights.

    Args:
        method: classifier, in evaluation mode.
        data: data module.
        judge: None; it is not used.

    Logs:
        test/hessian_top (loss per squared weight): largest eigenvalue of the Hessian of the mean
            cross entropy, in nats, of 500 training images, over all trained weights.
    """
    image, label = labelled(method, data, "train", MOST)
    weights = [p for p in method.parameters() if p.requires_grad]

    def loss() -> Tensor:
        return F.cross_entropy(method.logits(image).float(), label)

    return Measured({"hessian_top": top_eigenvalue(loss, weights)})


@torch.enable_grad()
def top_eigenvalue(
    loss: Callable[[], Tensor], weights: Sequence[Tensor], tolerance: float = 1e-4, seed: int = 0
) -> float:
    """Largest eigenvalue of the Hessian of a loss, from products of the Hessian with vectors.

    Args:
        loss: function without arguments of the weights, twice differentiable.
        weights: tensors that require gradients, at least two numbers; one that the loss does not
            depend on has zeros.
        tolerance: relative error.
        seed: seed of the first vector.

    Source: Lanczos 1950, restarted as in ARPACK (Lehoucq, Sorensen, Yang 1998), by
    scipy.sparse.linalg.eigsh.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    found = torch.autograd.grad(loss(), weights, create_graph=True, materialize_grads=True)
    gradient = torch.cat([part.flatten() for part in found])

    def product(vector: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(vector.reshape(-1)).to(gradient)
        parts = torch.autograd.grad(
            gradient, weights, given, retain_graph=True, materialize_grads=True
        )
        return torch.cat([part.flatten() for part in parts]).double().cpu().numpy()

    size = len(gradient)
    first = np.random.default_rng(seed).normal(size=size)
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    top = eigsh(operator, 1, which="LA", v0=first, tol=tolerance, return_eigenvectors=False)
    return float(top[0])
