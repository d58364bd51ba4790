"""Memory that a training needs on a GPU: what lives at the peak, and an allowance for the rest."""

from __future__ import annotations

from dataclasses import dataclass

from genlab.planning.gpus import GB, Gpu, assumed
from genlab.planning.step import STEP, Step


@dataclass(frozen=True)
class Need:
    """Memory that a training needs on one GPU, in bytes.

    Args:
        live: tensors at the peak by part, counted.
        allowance: memory of a GPU's libraries, assumed.
        moment: when that is: in a ``step``, or at the ``start`` of the training.
    """

    live: dict[str, int]
    allowance: dict[str, int]
    moment: str = STEP

    @property
    def total(self) -> int:
        """Everything together."""
        return sum(self.live.values()) + sum(self.allowance.values())

    def fits(self, gpu: Gpu) -> bool:
        """True if the GPU has as much."""
        return self.total <= gpu.bytes


def need(step: Step) -> Need:
    """Memory of a training on one GPU, in its worst moment; ``gpus.yaml`` has the allowance."""
    allowance = {name: int(assumed(name) * GB) for name in ("context", "libraries")}
    if step.world > 1:
        allowance["nccl"] = int(assumed("nccl") * GB)
    moment, peak = max(step.peaks.items(), key=lambda item: item[1])
    allowance["slack"] = int(assumed("slack") * peak)
    return Need(dict(step.parts[moment]), allowance, moment)
