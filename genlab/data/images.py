"""Common base of image data sets: splits, batch sizes, loaders, and the way to the device."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from torch import Tensor

from genlab import distributed
from genlab.augment import views_from
from genlab.data.exact_resume import ExactResume
from genlab.data.finding import FindsImages
from genlab.data.in_memory import Pictures
from genlab.data.labels.semi_supervised import FewLabels
from genlab.data.labels.two_streams import Plan, SemiLoader
from genlab.data.loader import Batch, EvalLoader, Source, TrainLoader, every_image
from genlab.data.naming import HasClasses
from genlab.data.on_device import Finish, finished, moved
from genlab.data.sampling import check_fits, check_sampling, check_share, check_sizes, evenly
from genlab.data.splits import Division

Split = Literal["train", "val", "test"]


class Images(FindsImages, HasClasses, L.LightningDataModule):
    """A set of images of one size with labels, divided into train, val and test.

    A batch is ``image`` (B, C, H, W) float in [0, 1], ``label`` (B,), -1 where unknown, ``index``
    (B,) position in the source data set; in training also ``seed``, see `loader.batch_seed`, and
    with ``views`` a list of those.

    Args:
        root: folder of the data; None for the environment's GENLAB_DATA, else ``data``.
        batch_size: images per optimiser step over all devices and accumulated batches.
        eval_batch_size: images per batch of evaluation over all devices.
        val_size: images split off from the training set for validation, a count or a fraction;
            classes in proportion; 0 for none.
        split_seed: seed of that choice; independent of ``seed_everything``.
        binarize: ``none``; ``dynamic``: training pixels are drawn Bernoulli(intensity) anew in
            every batch; ``fixed``: drawn once. With either, val and test are drawn once.
        limit: number of training images to use, a count or a fraction, classes in proportion.
        seed: seed of the training order and of batches; None for ``seed_everything``'s.
        augment: augmentation of training images, drawn anew for each: the arguments of
            `augment.Augment`; None for none.
        views: several random views of each training image: a preset of `augment.PRESETS`
            (``simclr``, ``byol`` ...) or ``preset`` with settings, see `augment.views_from`.
        resize: side in pixels to which all images are scaled, bilinear and antialiased, before
            anything else; None for the data's own.
        sampling: ``uniform``: every training image once an epoch; ``balanced``: drawn with
            replacement, equal chances for all classes; unlabelled images are left out.
        folds: number of equal parts of the training set, classes in proportion, by ``split_seed``;
            one of them is val, whatever ``val_size`` says, the others are train.
        fold: number of the part that is val, from 0.
        labels: labels to train on: a number (equal classes), ``{per_class: n}``,
            ``{count: n, imbalance: r}`` or the ``labels.json`` of a run; None for all.
        labels_seed: seed of that choice.
        unlabeled_ratio: mu, unlabelled images for each labelled one of ``batch_size``; 0 for
            labelled images alone, in plain batches. Else training batches are ``labeled`` and
            ``unlabeled``, the latter with two ``views``, weakly (``augment``) and strongly
            augmented; see `semi_supervised.FewLabels`.
        strong: augmentation after ``augment`` in the second view: ``rand_augment``, ``ctaugment``
            or its settings, see `rand_augment.strong_from`; null for a second weak view.
        exclude_labeled: True to leave the labelled images out of the unlabelled ones.
        steps_per_epoch: optimiser steps of an epoch, with ``labels``.
        classes: names of the classes in the order of their labels; None for the data's own, in
            their order. Data with some of them, or in another order, are numbered by these.

    Raises:
        ValueError: a value out of range, or two that cannot be combined.
    """

    channels: int
    image_size: int

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 128,
        eval_batch_size: int = 512,
        val_size: int | float = 0.1,
        split_seed: int = 0,
        binarize: Literal["none", "dynamic", "fixed"] = "none",
        limit: int | float | None = None,
        seed: int | None = None,
        augment: dict[str, Any] | None = None,
        resize: int | None = None,
        sampling: Literal["uniform", "balanced"] = "uniform",
        folds: int | None = None,
        fold: int = 0,
        views: str | dict[str, Any] | None = None,
        labels: int | str | dict[str, Any] | None = None,
        labels_seed: int = 0,
        unlabeled_ratio: int = 0,
        strong: str | dict[str, Any] | None = "rand_augment",
        exclude_labeled: bool = False,
        steps_per_epoch: int = 1024,
        classes: list[str] | None = None,
    ) -> None:
        super().__init__()
        check_sizes(batch_size=batch_size, eval_batch_size=eval_batch_size)
        check_sampling(sampling)
        self.root = Path(root or os.environ.get("GENLAB_DATA") or "data").expanduser()
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.division = Division(val_size, split_seed, limit, folds, fold)
        self.binarize, self.sampling, self.seed = binarize, sampling, seed
        self.finish = Finish(resize, augment, binarize)
        if resize is not None:
            self.image_size = resize
        if views is not None and (augment or binarize != "none"):
            raise ValueError("views cannot be combined with augment or binarize")
        self.views = views_from(views)
        self.train_loader: Callable[..., TrainLoader] = TrainLoader
        plan = Plan(unlabeled_ratio, steps_per_epoch, exclude_labeled)
        self.few = None if labels is None else FewLabels(labels, labels_seed, plan, strong)
        if self.few and (views is not None or binarize != "none" or sampling != "uniform"):
            raise ValueError("labels cannot be combined with views, binarize or sampling")
        self._parts: dict[str, tuple[Source, Tensor]] = {}
        self._forms: dict[str, tuple[Source, Tensor]] = {}
        self.name_classes(classes)

    def sources(self) -> dict[str, Source]:
        """The images on disk: ``train``, ``test``, and ``val`` if it is given."""
        raise ValueError(f"{type(self).__name__} has no images: name a data set, such as Digits")

    def setup(self, stage: str | None = None) -> None:
        """Read the images and choose the splits, once.

        Raises:
            MissingDataError: not on disk.
            ValueError: images or labels that do not fit, or a split that takes everything.
        """
        ExactResume.join(self.trainer)
        if self.few:
            self.few.join(self.trainer)
        if self._parts:
            return
        self.naming.compare(self)
        found = self.sources()
        parts = {name: (source, torch.arange(len(source))) for name, source in found.items()}
        train = found["train"]
        if "val" not in found:
            stay, held = self.division.hold_out(train.labels.numpy())
            parts["train"] = train, torch.from_numpy(stay)
            parts["val"] = train, torch.from_numpy(held)
        rows = parts["train"][1]
        used = self.division.limited(train.labels[rows].numpy())
        parts["train"] = train, rows[torch.from_numpy(used)]
        self.naming.number(self, found.values())
        if self.few:
            self.few.choose(type(self).__name__, train, parts["train"][1], self.num_classes)
        self._parts = parts

    def splits(self) -> dict[str, np.ndarray]:
        """Per split, the positions of its images in the source data set (train's, or test's)."""
        self.setup()
        return {name: source.index[rows].numpy() for name, (source, rows) in self._parts.items()}

    @property
    def class_counts(self) -> list[int]:
        """Number of training images of each class (after ``limit``, or of ``labels``)."""
        self.setup()
        source, rows = self._parts["train"]
        labels = source.labels[self.few.rows if self.few else rows]
        return labels[labels >= 0].bincount(minlength=self.num_classes).tolist()

    @property
    def label_record(self) -> dict[str, Any] | None:
        """Content of a run's ``labels.json``; None where all labels are used."""
        self.setup()
        return self.few.record if self.few else None

    @property
    def unlabeled_index(self) -> Tensor:
        """Positions in the source data set of the unlabelled training images."""
        self.setup()
        source, rows = self._parts["train"]
        return source.index[self.few.unlabeled if self.few else rows]

    def train_dataloader(self) -> TrainLoader | SemiLoader:
        """Shuffled batches; ``batch_size`` is divided by devices and accumulated batches.

        Raises:
            ValueError: it cannot be divided, or exceeds the training set.
        """
        self.setup()
        source, rows = self._form("train") if self.binarize == "fixed" else self._parts["train"]
        world = self.trainer.world_size if self.trainer else distributed.world_size()
        parts = self.trainer.accumulate_grad_batches if self.trainer else 1
        check_share(self.batch_size, world, parts, len(self._parts["val"][1]))
        place: dict[str, Any] = {"seed": self.seed, "rank": distributed.rank(), "world": world}
        if self.few:
            return self.few.loader(source, self.batch_size, parts, **place)
        check_fits(self.batch_size, len(rows), world * parts)
        size = self.batch_size // parts
        return self.train_loader(source, rows, size, **place, sampling=self.sampling)

    def val_dataloader(self) -> EvalLoader | list[EvalLoader]:
        """Validation images in order; an empty list when ``val_size`` is 0."""
        self.setup()
        return self.bank_dataloader("val", shard=True) if len(self._parts["val"][1]) else []

    def test_dataloader(self) -> EvalLoader:
        """Test images in order."""
        return self.bank_dataloader("test", shard=True)

    predict_dataloader = test_dataloader

    def bank_dataloader(
        self,
        split: Split = "train",
        shard: bool = False,
        most: int | None = None,
        binarized: bool = True,
    ) -> EvalLoader:
        """Images in order, never augmented, as evaluation sees them (binarised once if at all).

        Outside the Trainer, pass its batches through `to_device`.

        Args:
            split: name of the split.
            shard: True to give every rank its share instead of everything.
            most: largest number of images, see `sampling.evenly`; None for all.
            binarized: True to binarise if the recipe does; False for the original grey levels.
        """
        self.setup()
        grey = self.binarize == "none" or not binarized
        source, rows = self._parts[split] if grey else self._form(split)
        rows = rows if most is None else evenly(rows, source.labels[rows], most)
        rank, world = (distributed.rank(), distributed.world_size()) if shard else (0, 1)
        return EvalLoader(source, rows, self.eval_batch_size, rank=rank, world=world)

    def labelled(self, split: Split) -> int:
        """Number of a split's images that have a label."""
        self.setup()
        source, rows = self._parts[split]
        return int((source.labels[rows] >= 0).sum())

    def every_image(self) -> Iterator[tuple[str, EvalLoader]]:
        """All images, whatever the splits, see `loader.every_image`."""
        self.setup()
        return every_image({k: s for k, (s, _) in self._parts.items()}, self.eval_batch_size)

    def batches(
        self, split: Split = "train", epoch: int = 0, device: torch.device | str = "cpu"
    ) -> Iterator[Batch]:
        """Batches of one epoch ready for a step, without a Trainer: float images, views, labels.

        >>> import genlab
        >>> data = genlab.data.Digits(batch_size=64, views="simclr")
        >>> for batch in data.batches("train", epoch=0):
        ...     view1, view2 = batch["views"]  # (64, 1, 8, 8) float in [0, 1]
        >>> len(view1), batch["label"].shape
        (64, torch.Size([64]))
        """
        self.prepare_data()
        loader: Any = self.train_dataloader() if split == "train" else self.bank_dataloader(split)
        if split == "train":
            loader.set_epoch(epoch)
        for batch in loader:
            yield self.to_device(batch, device)

    def to_device(self, batch: Batch, device: torch.device | str = "cpu") -> Batch:
        """Treat a batch as the Trainer does: move it to the device, convert to float in [0, 1]."""
        moved = self.transfer_batch_to_device(batch, torch.device(device), 0)
        return self.on_after_batch_transfer(moved, 0)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, _: int) -> Batch:
        """Move the tensors of a batch; images are still uint8, a quarter of the bytes."""
        return batch if device.type == "cpu" else {k: moved(v, device) for k, v in batch.items()}

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Make a batch ready on the device: resize, augment or binarise; then the views.

        Images become (B, C, H, W) float32 in [0, 1], and ``views`` is a list of them.

        Args:
            batch: ``image`` uint8, or float in [0, 1]; or its ``crops``; or labelled and not.
            dataloader_idx: Lightning's argument; all loaders are alike.
        """
        if self.few and "unlabeled" in batch:
            return self.few.finish(batch, self.finish)
        return finished(batch, self.finish, self.views)

    def _form(self, split: str) -> tuple[Source, Tensor]:
        """A split binarised once, kept for the next caller."""
        if split not in self._forms:
            source, rows = self._parts[split]
            if not isinstance(source, Pictures):
                raise ValueError("binarize requires images in memory: in_memory=true")
            self._forms[split] = source.binarized(rows, split), torch.arange(len(rows))
        return self._forms[split]
