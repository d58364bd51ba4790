"""Evaluations of the network that a sample costs, of methods that sample in several passes."""

from __future__ import annotations


def evaluations_of(method: object) -> int:
    """Evaluations of the network for each image of the latest sample; 0 where nobody counts them.

    Methods that sample in several passes count them in ``nfe``.
    """
    return int(getattr(method, "nfe", 0) or 0)


def evaluations_in_words(method: object) -> str:
    """The evaluations of the latest sample as a sentence; empty where nobody counts them."""
    count = evaluations_of(method)
    return f"{count:,} evaluations of the network for each sample." if count else ""


def sampling_in_words(method: object) -> str:
    """Evaluations and solver of the latest sample for a title; empty where nobody counts them."""
    count = evaluations_of(method)
    settings = dict(getattr(method, "hparams", {}))
    solver = settings.get("sampler") or settings.get("solver")
    return ", ".join(filter(None, (f"{count:,} evaluations each", solver))) if count else ""
