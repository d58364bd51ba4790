"""The two views that a method compares, out of a training batch."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def pair(batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """The batch's ``views``: 2 x (B, C, H, W).

    Raises:
        ValueError: there are none, or not two; or a single image, which has no others to be told
            from and no statistics over a batch.
    """
    views = batch.get("views")
    if views is None:
        raise ValueError("this method compares views of an image: set data.views, such as simclr")
    if len(views) != 2:
        raise ValueError(f"this method compares 2 views of an image, data.views gives {len(views)}")
    view1, view2 = views
    if len(view1) < 2:
        raise ValueError("one image per process has nothing to differ from: raise data.batch_size")
    return view1, view2
