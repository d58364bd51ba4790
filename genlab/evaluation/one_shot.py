"""Features and pixels measured by one-shot classification."""

from __future__ import annotations

from typing import Any

import torch

from genlab.contracts import Episodes
from genlab.evaluation.feature_quality import features_of
from genlab.evaluation.places import AtStage
from genlab.metrics import Bank, one_shot_error

SPLITS = ("test", "val")


@torch.no_grad()
def one_shot(
    method: Any, data: Any, stage: int | None = None
) -> tuple[dict[str, Any], Bank, Bank | None]:
    """One-shot error of a method's features, of the pixels, and by chance.

    Args:
        method: method whose ``forward`` gives the features.
        data: data with trials, such as `OmniglotOneShot`: of their test, or else of validation.
        stage: stage of the method's encoder that gives the features instead; None for those of
            ``forward``.

    Logs:
        test/one_shot_error, val/one_shot_error (fraction, lower): share of images whose class is
            not that of the most similar feature (cosine) among one of each of a trial's classes;
            mean over trials. Test: the official runs; validation: made-up trials.
        test/one_shot_error_pixels, val/one_shot_error_pixels (fraction, lower): the same of the
            pixels themselves.
        test/one_shot_error_chance, val/one_shot_error_chance (fraction): 1 - 1 / (classes of a
            trial).
        test/one_shot_error_std, val/one_shot_error_std (fraction): standard deviation of the
            error over trials.
        test/one_shot_trials, val/one_shot_trials (trials): number of them.

    Returns:
        Metrics, the features of the images that are classified, and of those that are learnt from
        where they are the training images.

    Raises:
        ValueError: data without trials.
    """
    method.eval()
    found = {split: trials for split in SPLITS if (trials := data.episodes(split)) is not None}
    if not found:
        raise ValueError("one-shot evaluation requires trials: data.val_alphabets is 0")
    split = next(iter(found))
    trials = found[split]
    known, asked = _features(AtStage(method, stage) if stage is not None else method, data, trials)
    error = one_shot_error(trials, known, asked)
    metrics = {
        "": float(error.mean()),
        "_pixels": float(one_shot_error(trials, *_features(Pixels(method), data, trials)).mean()),
        "_chance": 1 - 1 / trials.support.shape[1],
        "_std": float(error.std()),
    }
    named = {f"{split}/one_shot_error{name}": value for name, value in metrics.items()}
    named |= {f"{split}/one_shot_trials": len(error)}
    return named, asked, known if trials.learn_from == "train" else None


def in_words(metrics: dict[str, Any]) -> str:
    """The errors of `one_shot` as a sentence; empty if there are none."""
    split = next((one for one in SPLITS if f"{one}/one_shot_error" in metrics), None)
    if split is None:
        return ""
    error, pixels, chance = (
        f"{100 * metrics[f'{split}/one_shot_error{name}']:.1f} %"
        for name in ("", "_pixels", "_chance")
    )
    return f"one-shot error {error}; pixels {pixels}, chance {chance}"


class Pixels:
    """Images as their own features.

    Args:
        method: method whose device is used.
    """

    def __init__(self, method: Any) -> None:
        self.device = method.device

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C H W)."""
        return image.flatten(1)


def _features(method: Any, data: Any, trials: Episodes) -> tuple[Bank, Bank]:
    """Features to learn from and features to classify."""
    banks = [features_of(method, data, one) for one in (trials.learn_from, trials.classify)]
    if banks[0] is None or banks[1] is None:
        raise ValueError("one-shot evaluation requires images")
    return banks[0], banks[1]
