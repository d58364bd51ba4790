"""Disentanglement of a method's features, for data whose factors are known."""

from __future__ import annotations

from typing import Any

import torch

from genlab import metrics
from genlab.metrics import Bank

MOST_NUMBERS = 64  # of features up to which trees learn the factors from them


def disentanglement(
    train: Bank, val: Bank | None, test: Bank, data: Any, seed: int = 0
) -> dict[str, float]:
    """MIG over all images and DCI of the features, see `metrics.mutual_information_gap`.

    Args:
        train: features of the training images, from which trees learn the factors for DCI.
        val: those of the validation images; None where there are none.
        test: those of the test images, whose factors the trees predict.
        data: data module with ``factors``.
        seed: seed of the trees.

    Logs:
        test/mig (fraction, higher): mean over factors of the information gap between the two
            features that tell most of a factor, over its entropy; in 20 bins, over all images.
        test/mig_<factor> (fraction, higher): that of one factor.
        test/dci_disentanglement (fraction, higher): how far a feature is important for one factor
            alone, by boosted trees; for up to 64 features.
        test/dci_completeness (fraction, higher): how far a factor depends on one feature alone.
        test/dci_informativeness (fraction, higher): mean accuracy of the trees on test images.

    Returns:
        ``mig``, ``mig_<factor>``, and DCI's three where there are at most 64 features and at least
        two factors. Empty for a single feature.
    """
    banks = [bank for bank in (train, val, test) if bank is not None]
    codes = torch.cat([bank.features for bank in banks])
    if codes.shape[1] < 2:
        return {}
    factors = [data.factors(bank.position) for bank in banks]
    gaps = metrics.mutual_information_gap(codes, torch.cat(factors))
    found = {"mig": float(gaps.mean())}
    for name, gap in zip(data.factor_names, gaps.tolist(), strict=True):
        found[f"mig_{name}"] = gap
    if codes.shape[1] <= MOST_NUMBERS and factors[0].shape[1] > 1:
        sets = train.features, factors[0], test.features, factors[-1]
        importance, accuracy = metrics.importances(*sets, seed=seed)
        apart, complete = metrics.dci(importance)
        found |= {
            "dci_disentanglement": apart,
            "dci_completeness": complete,
            "dci_informativeness": accuracy,
        }
    return found
