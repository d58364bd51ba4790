"""Images of a data module by their positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from genlab.data.loader import Batch, Source


class FindsImages:
    """Images by their positions in the source data set."""

    _parts: dict[str, tuple[Source, Tensor]]

    def whole(self, index: Tensor, split: str = "train") -> Batch:
        """Whole images of a split, never augmented; for `to_device`, in the order asked for.

        Args:
            index: positions in the source data set, as a batch's ``index``, (N,).
            split: name of the split.
        """
        source = self._parts[split][0]
        rows = [int((source.index == at).nonzero()[0]) for at in index.tolist()]
        return next(iter(source.read([torch.tensor(rows)])))
