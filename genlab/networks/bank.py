"""A memory of one vector for each training image, found by the image's place in the data set."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab import distributed


class Bank(nn.Module):
    """Unit vectors of the training images, equal on every rank and part of the checkpoint.

    Its memory is n x D numbers on each rank; DDP does not send it, see `queue.keep_out_of_ddp`.

    Args:
        dim: D, width of a vector.

    Attributes:
        rows: (n, D); n is 0 before `fit_to`.
        row_of: (places,), row of the image at each place in the data set, -1 for none.

    Source: Wu et al. 2018, arXiv:1805.01978, section 3; zhirongw/lemniscate.pytorch.
    Departure: rows start as unit vectors, there as uniform numbers.
    """

    equal_on_ranks = True
    rows: Tensor
    row_of: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(0, dim))
        self.register_buffer("row_of", torch.zeros(0, dtype=torch.long), persistent=False)
        self._seed = int(torch.randint(2**31, ()))  # of the rows that training begins with

    def fit_to(self, index: np.ndarray | None) -> None:
        """Give each training image a row, at random unless a checkpoint has filled them.

        Args:
            index: places of the training images, (n,), see `contracts.training_images`.

        Raises:
            ValueError: data that do not tell them, or a checkpoint of another number of images.
        """
        if index is None:
            raise ValueError("a memory bank requires data that tell the index of their images")
        if len(self.rows) not in (0, len(index)):
            raise ValueError(
                f"the memory bank has {len(self.rows):,} rows, the training data {len(index):,} "
                "images: continue with the same data"
            )
        if not len(self.rows):
            chosen = torch.Generator().manual_seed(self._seed)
            drawn = torch.randn(len(index), self.rows.shape[1], generator=chosen, device="cpu")
            drawn = drawn.to(self.rows)
            self.rows = distributed.broadcast(F.normalize(drawn, dim=1))
        row_of = np.full(int(index.max()) + 1, -1)
        row_of[index] = np.arange(len(index))
        self.row_of = torch.from_numpy(row_of).to(self.rows.device)

    def rows_at(self, index: Tensor) -> Tensor:
        """Rows of the images at these places in the data set: (B,) -> (B,)."""
        return self.row_of[index]

    @torch.no_grad()
    def move(self, rows: Tensor, z: Tensor, momentum: float = 0.0) -> None:
        """Move the rows of the images of all ranks, and make them unit vectors.

        Args:
            rows: those of this rank's images, (B,), as many on every rank; one that stands there
                twice moves once, towards the mean.
            z: unit vectors, (B, D).
            momentum: share of the row that is kept.
        """
        rows = distributed.gather(rows)
        z = distributed.gather(z.detach().to(self.rows.dtype))
        times = z.new_zeros(len(self.rows)).index_add_(0, rows, z.new_ones(len(rows)))
        self.rows.index_copy_(0, rows, momentum * self.rows[rows])
        self.rows.index_add_(0, rows, (1 - momentum) * z / times[rows, None])
        self.rows.index_copy_(0, rows, F.normalize(self.rows[rows], dim=1))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        found = state_dict.get(f"{prefix}rows")
        if found is not None and found.shape[1:] == self.rows.shape[1:]:
            self.rows = self.rows.new_zeros(found.shape)  # as many as the checkpoint has
        super()._load_from_state_dict(state_dict, prefix, *args)
