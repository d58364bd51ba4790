"""The views in a training batch, for methods that read one or two of them, or any number."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from genlab.contracts import Batch

SMALLEST = 4  # side of a view in pixels, below which it shows nothing


def pair(batch: Batch) -> tuple[Tensor, Tensor]:
    """The batch's ``views``: 2 x (B, C, H, W).

    Raises:
        ValueError: no views, or not two; or a single image, which has neither negatives nor batch
            statistics.
    """
    views = _views(batch)
    if len(views) != 2:
        raise ValueError(f"this method compares 2 views of an image, data.views gives {len(views)}")
    view1, view2 = views
    if len(view1) < 2:
        raise ValueError("a batch needs at least two images per process: raise data.batch_size")
    return view1, view2


def single(batch: Batch) -> Batch:
    """The batch with its only view for ``image``; without views as it is.

    Raises:
        ValueError: more views than one.
    """
    views = batch.get("views")
    if views is None:
        return batch
    if len(views) != 1:
        raise ValueError(
            f"this method reads 1 view of an image, data.views gives {len(views)}: "
            "set data.views, such as mae, or null"
        )
    return {**batch, "image": views[0]}


def crops(batch: Batch, least: int = 2) -> list[Tensor]:
    """The batch's ``views``, any number of them in their order, each (B, C, h, w).

    Args:
        batch: a training batch.
        least: number of views that the method requires; with one, a single image will do.

    Raises:
        ValueError: no views, or too few, or too small ones; or a single image.
    """
    views = _views(batch)
    if len(views) < least:
        raise ValueError(
            f"this method requires at least {least} views of an image, "
            f"data.views gives {len(views)}"
        )
    if least > 1 and len(views[0]) < 2:
        raise ValueError("a batch needs at least two images per process: raise data.batch_size")
    if (side := min(view.shape[-1] for view in views)) < SMALLEST:
        raise ValueError(
            f"views of {side} px are not at least {SMALLEST} px: set data.views.small.size"
        )
    return list(views)


def two_streams(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Labelled images (B, ...) and their labels (B,), weak and strong views of others (M, ...).

    Raises:
        ValueError: the data are not semi-supervised.
    """
    if "unlabeled" not in batch:
        raise ValueError(
            "this method learns from labelled and other images: set data.labels and, above 0, "
            "data.unlabeled_ratio (another data= than the recipe's forgets both)"
        )
    labeled = batch["labeled"]
    weak, strong = batch["unlabeled"]["views"]
    return labeled["image"], labeled["label"], weak, strong


def large(views: Sequence[Tensor]) -> list[int]:
    """Positions of the views with the longest side: all of them where they are alike."""
    longest = max(view.shape[-1] for view in views)
    return [k for k, view in enumerate(views) if view.shape[-1] == longest]


def _views(batch: Batch) -> list[Tensor]:
    views = batch.get("views")
    if views is None:
        raise ValueError("this method requires views of an image: set data.views, such as simclr")
    return views
