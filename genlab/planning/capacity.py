"""Memory that a training needs on a GPU: what lives at the peak, and an allowance for the rest."""

from __future__ import annotations

from dataclasses import dataclass

from genlab.planning.gpus import GB, Gpu, assumed
from genlab.planning.step import Step


@dataclass(frozen=True)
class Need:
    """Memory that a training needs on one GPU, in bytes.

    Args:
        live: tensors at the peak by part, counted.
        allowance: memory of a GPU's libraries, assumed.
    """

    live: dict[str, int]
    allowance: dict[str, int]

    @property
    def total(self) -> int:
        """Everything together."""
        return sum(self.live.values()) + sum(self.allowance.values())

    def fits(self, gpu: Gpu) -> bool:
        """True if the GPU has as much."""
        return self.total <= gpu.bytes


def need(step: Step) -> Need:
    """Memory that a step needs on one GPU, see ``gpus.yaml`` on the allowance."""
    allowance = {name: int(assumed(name) * GB) for name in ("context", "libraries")}
    if step.world > 1:
        allowance["nccl"] = int(assumed("nccl") * GB)
    return Need(dict(step.memory), allowance | {"slack": int(assumed("slack") * step.peak)})
