"""The verdict on steps that a device keeps until the host asks for it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from genlab import distributed
from genlab.internals.lightning_loops import Position
from genlab.optim.finiteness import all_finite
from genlab.training.engine.before_window import Settings


class Place(NamedTuple):
    """Start of a window, its images, and the optimisers' settings before it."""

    at: Position
    indices: list[Tensor | None]
    settings: Settings


class Verdict:
    """The first of several windows that is not finite; to be asked for in one transfer.

    Args:
        device: device of the losses and gradients.
    """

    def __init__(self, device: torch.device) -> None:
        self._found = torch.full((2,), -1.0, device=device)  # number of a window, sum of its losses
        self._places: list[Place] = []

    def __len__(self) -> int:
        """Windows since the host has last asked."""
        return len(self._places)

    @property
    def at_fault(self) -> Tensor:
        """() bool, on the device: a window so far was not finite."""
        return self._found[0] >= 0

    def note(self, losses: list[Tensor], gradients: list[Tensor]) -> None:
        """Look at the losses and the gradient of the window under way; the first at fault stays.

        A window is at fault on all ranks or on none.
        """
        kept = torch.stack([self._found.new_zeros(()), *(loss.float() for loss in losses)])
        bad = ~kept.isfinite().all()
        if gradients:
            bad = bad | ~all_finite(gradients)
        if distributed.active():
            bad = distributed.all_reduce_max(bad.float()) > 0
        now = torch.stack([torch.full_like(kept[0], len(self._places)), kept.sum()])
        self._found = torch.where(~self.at_fault & bad, now, self._found)

    def close(self, place: Place) -> None:
        """The window under way is over."""
        self._places.append(place)

    def read(self, under_way: Place) -> tuple[Place, float] | None:
        """The first window at fault and the sum of its losses; forgets the others.

        Args:
            under_way: place of the last window, which may be open.
        """
        number, loss = self._found.tolist()
        places, self._places = self._places, []
        if number < 0:
            return None
        return [*places, under_way][int(number)], loss
