"""The pair of views in a training batch, for methods that compare two."""

from __future__ import annotations

from torch import Tensor

from genlab.contracts import Batch


def pair(batch: Batch) -> tuple[Tensor, Tensor]:
    """The batch's ``views``: 2 x (B, C, H, W).

    Raises:
        ValueError: no views, or not two; or a single image, which has neither negatives nor batch
            statistics.
    """
    views = batch.get("views")
    if views is None:
        raise ValueError("this method requires views of an image: set data.views, such as simclr")
    if len(views) != 2:
        raise ValueError(f"this method compares 2 views of an image, data.views gives {len(views)}")
    view1, view2 = views
    if len(view1) < 2:
        raise ValueError("a batch needs at least two images per process: raise data.batch_size")
    return view1, view2
