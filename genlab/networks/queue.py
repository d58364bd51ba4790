"""A ring of the last keys of all ranks: the dictionary of MoCo, the support set of NNCLR."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab import distributed
from genlab.internals import torch_parts


class Queue(nn.Module):
    """The newest ``size`` keys, equal on every rank and part of the checkpoint.

    Rows are keys, so that a write touches the new ones only; the pointer goes round, so that no
    key is dropped where the size is not a multiple of the batch.

    Args:
        size: K, number of keys.
        dim: D, their width.

    Attributes:
        keys: (K, D) of unit length; at first random directions.
        pointer: () int64, position of the next key.

    Raises:
        ValueError: no room for a key.

    Source: He et al. 2020, arXiv:1911.05722, section 3.2; facebookresearch/moco.
    Departure: there K must be a multiple of the global batch, and keys are columns.
    """

    equal_on_ranks = True  # see `keep_out_of_ddp`
    keys: Tensor
    pointer: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"queue_size {size} must be at least 1")
        self.register_buffer("keys", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Let the keys of all ranks replace the oldest ones, in the order of one process.

        Args:
            keys: (B / world, D) of unit length; the loader dealt image i to rank i modulo world.

        Raises:
            ValueError: more keys in one step than the size of the queue.
        """
        keys = distributed.interleave(distributed.gather(keys.detach()))
        self.check(len(keys))
        rows = (self.pointer + torch.arange(len(keys), device=keys.device)) % len(self.keys)
        self.keys[rows] = keys.to(self.keys.dtype)
        self.pointer.add_(len(keys)).remainder_(len(self.keys))

    @torch.no_grad()
    def nearest(self, z: Tensor) -> Tensor:
        """The key nearest to each embedding, by the cosine: (B, D) -> (B, D)."""
        with torch.autocast(z.device.type, enabled=False):
            unit = F.normalize(z.to(self.keys.dtype), dim=1)
            return self.keys[(unit @ self.keys.T).argmax(1)]

    def check(self, count: int) -> None:
        """Check that the queue has room for ``count`` keys of one step.

        Raises:
            ValueError: they do not.
        """
        if count > len(self.keys):
            raise ValueError(f"queue_size {len(self.keys)} is less than the {count} keys of a step")


def keep_out_of_ddp(method: nn.Module) -> None:
    """Tell DDP not to send a method's queues and banks at every step (33 MB at K = 65536).

    Modules that say ``equal_on_ranks = True`` are equal on all ranks by what moves them. Call it
    when the method is complete.
    """
    parts = [one for one in method.named_modules() if getattr(one[1], "equal_on_ranks", False)]
    names = [f"{name}.{buffer}" for name, part in parts for buffer, _ in part.named_buffers()]
    torch_parts.ignore_in_ddp(method, names)
