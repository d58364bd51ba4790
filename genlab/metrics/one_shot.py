"""One-shot classification by the most similar feature."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.contracts import Episodes
from genlab.metrics.bank import Bank


def one_shot_error(trials: Episodes, learn_from: Bank, classify: Bank) -> Tensor:
    """Share of images that each trial gets wrong: (E,) float32.

    An image belongs to the class whose one image has the most similar feature, by the cosine.
    Images to classify are looked at one by one. Among equals the first class wins.

    Args:
        trials: E trials.
        learn_from: features that ``trials.support`` names by their position.
        classify: those that ``trials.query`` names.

    Raises:
        ValueError: a position that the features lack.
    """
    support = _chosen(learn_from, trials.support)  # (E, W, F)
    query = _chosen(classify, trials.query)  # (E, Q, F)
    similarity = F.normalize(query, dim=2) @ F.normalize(support, dim=2).mT  # (E, Q, W)
    wrong = similarity.argmax(2) != trials.answer.to(similarity.device)
    return wrong.float().mean(1)


def _chosen(bank: Bank, position: Tensor) -> Tensor:
    """Features (E, W, F) of images by their position in the data set (E, W)."""
    wanted = position.to(bank.position.device)
    rows = torch.searchsorted(bank.position, wanted).clamp_(max=len(bank.position) - 1)
    if not bool((bank.position[rows] == wanted).all()):
        raise ValueError("features of some images of a one-shot trial are missing")
    return bank.features[rows].float()
