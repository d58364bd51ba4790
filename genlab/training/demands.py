"""Demands on data and trainer: those of every method, and those that one states in attributes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from genlab.contracts import DataModule, HasLabels
from genlab.networks.split_batch_norm import SplitBatchNorm, check_groups

if TYPE_CHECKING:
    from genlab.training.building import Lab

HALF_A_BYTE = 0.501 / 255


def refuse_other_batches(batch: Any, name: str) -> None:
    """Refuse batches that no method of genlab reads.

    Args:
        batch: the first batch.
        name: class of the data.

    Raises:
        ValueError: it is not a mapping with images.
    """
    if not isinstance(batch, dict) or not {"image", "views", "labeled"} & batch.keys():
        kind = type(batch).__name__
        raise ValueError(f"{name}: a batch is a {kind}, not a mapping with image or views")


def refuse_unlabelled(lab: Lab) -> None:
    """Refuse images without a label for a method that says ``requires_labels``.

    Raises:
        ValueError: there are such images.
    """
    data: Any = lab.data
    asks = getattr(lab.model, "requires_labels", False) and isinstance(lab.data, HasLabels)
    missing = len(data.splits()["train"]) - data.labelled("train") if asks else 0
    if missing > 0:
        name = type(lab.model).__name__
        raise ValueError(f"{name} requires a label of every image; {missing:,} have none")


def refuse_views(lab: Lab) -> None:
    """Refuse views for a method that says ``reads_views = False``: they would be thrown away.

    Raises:
        ValueError: there are views.
    """
    if not getattr(lab.model, "reads_views", True) and getattr(lab.data, "views", None) is not None:
        raise ValueError(
            f"{type(lab.model).__name__} cannot be combined with data.views: it trains on one "
            "image at a time; crop and flip it by data.augment"
        )


def refuse_splits(lab: Lab) -> None:
    """Refuse groups of batch norm that do not divide a device's batch.

    Two views may pass together, so that their images count twice; more of them only where chunks
    take each view apart.

    Raises:
        ValueError: the number of images and of groups.
    """
    splits = (one.groups for one in lab.model.modules() if isinstance(one, SplitBatchNorm))
    groups, size = next(splits, 1), getattr(lab.data, "batch_size", None)
    if groups == 1 or size is None:
        return
    each = int(size) // (lab.trainer.world_size * lab.trainer.accumulate_grad_batches)
    apart = int(getattr(lab.model, "chunks", 1)) > 1
    pairs = len(getattr(lab.data, "views", None) or ()) <= 2
    if apart or (pairs and (2 * each) % groups):
        check_groups(each, groups)


def refuse_other_levels(lab: Lab) -> None:
    """Refuse images whose first training batch has values between a model's levels.

    A method, or its decoder, with a number of levels of its own says so by ``image_levels``. Bytes
    that stand for fewer levels are rounded to a byte.

    Raises:
        ValueError: there are such values.
    """
    model: Any = lab.model
    parts: tuple[Any, ...] = (model, getattr(model, "decoder", None))
    levels = next((part.image_levels for part in parts if hasattr(part, "image_levels")), None)
    if levels is None or not isinstance(lab.data, DataModule):
        return
    data: Any = lab.data
    batch = next(iter(data.train_dataloader()))
    if not isinstance(batch, dict) or "image" not in batch:
        return
    image = data.to_device(batch)["image"]
    level = (image * (levels - 1)).round().clamp(0, levels - 1)
    other = image[(image - level / (levels - 1)).abs() > HALF_A_BYTE]
    if len(other):
        raise ValueError(
            f"{type(model).__name__} of {levels} levels cannot be combined with images of other "
            f"values, such as {other[0]:.3f}: set levels to their number, or data.binarize"
        )


def say_accumulation(lab: Lab) -> None:
    """Warn of accumulated batches where the loss is of a whole batch.

    A method with ``chunks`` has such a loss; any other says so by ``loss_of_batch``.
    """
    divides = hasattr(lab.model, "chunks")
    if lab.trainer.accumulate_grad_batches > 1 and getattr(lab.model, "loss_of_batch", divides):
        advice = "model.chunks divides a batch without changing its gradient"
        print(
            f"trainer.accumulate_grad_batches: the loss of {type(lab.model).__name__} compares the "
            "images of a batch, and an accumulated part is a smaller batch"
            + (f"; {advice}" if divides else ""),
            file=sys.stderr,
        )
