"""Semi-supervised data: a budget of labels, two streams of images, two views of the unlabelled.

The protocol of Oliver et al. 2018, arXiv:1804.09170, and Sohn et al. 2020, arXiv:2001.07685: some
training images keep their label; all of them, those included, are the unlabelled set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genlab.augment.ct_augment import CTAugment
from genlab.augment.rand_augment import strong_from
from genlab.data.labels.budget import budget_from
from genlab.data.labels.file import record
from genlab.data.labels.learned_augment import LearnedAugment
from genlab.data.labels.two_streams import UNLABELED, Plan, SemiLoader
from genlab.data.loader import Batch, Source, batch_seed
from genlab.data.on_device import Finish


class FewLabels:
    """The part of an image data module that depends on a label budget.

    Args:
        labels: number of labels, or the file that names them; see `labels.budget_from`.
        seed: seed of the choice.
        plan: composition of a batch from labelled and unlabelled images.
        strong: strong augmentation, see `rand_augment.strong_from`.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self,
        labels: int | str | Mapping[str, Any],
        seed: int,
        plan: Plan,
        strong: str | dict[str, Any] | None,
    ) -> None:
        self.budget, self.plan = budget_from(labels, seed), plan
        self.strong = strong_from(strong)
        self.rows = self.unlabeled = torch.empty(0, dtype=torch.int64)
        self.record: dict[str, Any] = {}

    def choose(self, name: str, source: Source, rows: Tensor, num_classes: int) -> None:
        """Choose the two sets among the ``rows`` of the source, and the record of the first.

        Raises:
            ValueError: see `labels.Budget.choose`.
        """
        chosen = self.budget.choose(name, source, rows.numpy(), num_classes)
        self.rows = torch.from_numpy(chosen)
        self.unlabeled = rows[~torch.isin(rows, self.rows)] if self.plan.exclude_labeled else rows
        self.record = record(name, source, chosen, num_classes, self.budget.seed)

    def join(self, trainer: Any) -> None:
        """Add the feedback of the strong augmentation to a trainer, if it learns."""
        if self.plan.ratio:
            LearnedAugment.join(trainer, self.strong)

    def loader(self, source: Source, batch_size: int, parts: int, **place: Any) -> SemiLoader:
        """Training batches.

        Args:
            source: the images.
            batch_size: labelled images of an optimiser step over all ranks.
            parts: batches of an optimiser step.
            **place: ``seed``, ``rank``, ``world`` of `SemiLoader`.

        Raises:
            ValueError: more unlabelled images in a step than there are.
        """
        place |= {"parts": parts, "labels": self.record["sha256"]}
        size = batch_size // parts
        return SemiLoader(source, self.rows, self.unlabeled, size, self.plan, **place)

    def finish(self, batch: Batch, weaken: Finish) -> Batch:
        """Augment a batch on the device: labelled images weakly, unlabelled ones twice.

        All three draws are independent of each other; the strong view is a weak view of its own
        with `strong` on top.

        Args:
            batch: batch of `SemiLoader`, images in bytes.
            weaken: weak augmentation, to [0, 1].

        Returns:
            ``labeled`` with ``image`` (B, C, H, W), ``unlabeled`` with ``views`` 2 x (mu B, C, H,
            W); their ``label`` and ``index`` and the batch's ``seed`` as they were. Where the
            strong augmentation learns, ``probe``: see `CTAugment.probe`, with its ``label``.
        """
        seed, labeled, unlabeled = batch["seed"], dict(batch["labeled"]), dict(batch["unlabeled"])
        cut = "crops" in unlabeled  # by `files.cuts`: one crop a view
        three = [*_taken(labeled, 1), *_taken(unlabeled, 2)]
        seeds = [seed, *(batch_seed(seed, view, UNLABELED) for view in range(2))]
        labeled["image"], weak, strong = (
            weaken(image, one, cut) for image, one in zip(three, seeds, strict=True)
        )
        unlabeled["views"] = [weak, self.strong(strong, seeds[2]) if self.strong else strong]
        batch = {**batch, "labeled": labeled, "unlabeled": unlabeled}
        if isinstance(self.strong, CTAugment):
            probe = self.strong.probe(labeled["image"], seed)
            batch["probe"] = probe | {"label": labeled["label"]}
        return batch


def _taken(part: Batch, count: int) -> list[Tensor]:
    """The images of a part taken out of it: its crops, or ``count`` times its image."""
    return part.pop("crops") if "crops" in part else [part.pop("image")] * count
