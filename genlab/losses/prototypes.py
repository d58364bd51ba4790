"""Losses of similarities with prototypes: unit vectors that stand for groups of images.

Everything is computed in float32 (or float64) under any autocast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from genlab.losses.contrastive import normalise


def prototype_scores(z: Tensor, prototypes: Tensor) -> Tensor:
    """Similarities of embeddings, made unit vectors here, with prototypes as they are.

    Args:
        z: embeddings, (B, D).
        prototypes: (K, D), of unit length.

    Returns:
        (B, K), cosines, float32 at least.
    """
    with torch.autocast(z.device.type, enabled=False):
        unit = normalise(z)
        return unit @ prototypes.to(unit.dtype).T


def cluster_nll(
    z: Tensor, centroids: Sequence[Tensor], labels: Tensor, temperature: float = 0.1
) -> Tensor:
    """Cross entropy of the clusters of images with the softmax over the centroids.

    Args:
        z: embeddings, (B, D), made unit vectors here.
        centroids: those of each clustering, H x (K, D), of unit length, used as constants.
        labels: cluster of each image in each clustering, (H, B); negative ones do not count.
        temperature: tau.

    Returns:
        Scalar, nats: mean over the images that have a label and the clusterings; 0 without any.

    Source: Caron et al. 2020, arXiv:2006.09882, appendix D; facebookresearch/swav.
    """
    with torch.autocast(z.device.type, enabled=False):
        terms = []
        for one, label in zip(centroids, labels, strict=True):
            log_p = (prototype_scores(z, one.detach()) / temperature).log_softmax(1)  # (B, K)
            known = label >= 0
            own = log_p.gather(1, label.clamp(min=0)[:, None])[:, 0]
            terms.append(-(own * known).sum() / known.sum().clamp(min=1))
        return torch.stack(terms).mean()


def swapped_prediction(
    scores: Sequence[Tensor], codes: Mapping[int, Tensor], temperature: float = 0.1
) -> Tensor:
    """Cross entropy of the codes of some views with the predictions of all others.

    Args:
        scores: similarities of each view's embeddings with the prototypes, V x (B, K).
        codes: assignments by the place of their view, (B, K); constants, rows sum to 1.
        temperature: tau of the predictions.

    Returns:
        Scalar, nats: mean over the batch, the views with codes and the V - 1 others of each.

    Raises:
        ValueError: fewer than two views, no codes, or a temperature that is not positive.

    Source: Caron et al. 2020, arXiv:2006.09882, equations 1, 2 and 6; facebookresearch/swav.
    """
    if not temperature > 0:
        raise ValueError(f"temperature {temperature} must be above 0")
    if len(scores) < 2 or not codes:
        raise ValueError(f"codes of {len(codes)} and scores of {len(scores)} views are too few")
    with torch.autocast(scores[0].device.type, enabled=False):
        kind = torch.promote_types(scores[0].dtype, torch.float32)
        log_p = [(s.to(kind) / temperature).log_softmax(1) for s in scores]  # V x (B, K)
        terms = [
            -(code.detach() * log_p[v]).sum(1).mean()
            for i, code in codes.items()
            for v in range(len(scores))
            if v != i
        ]
        return torch.stack(terms).mean()
