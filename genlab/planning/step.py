"""Cost of one optimiser step of one process, in bytes and operations."""

from __future__ import annotations

from dataclasses import dataclass, field

STEP, START, VALIDATION = "step", "start", "validation"  # moments of a training


@dataclass(frozen=True)
class Collective:
    """Calls of one kind, for one purpose, in one optimiser step.

    Args:
        name: purpose: ``gradients``, or the function that calls.
        kind: ``all_reduce``, ``all_gather``, ``broadcast`` ...
        calls: number of calls.
        bytes: bytes that a rank puts in, over all calls.
        world: number of ranks.
    """

    name: str
    kind: str
    calls: int
    bytes: int
    world: int


@dataclass(frozen=True)
class Step:
    """Cost of one optimiser step on one of ``world`` devices.

    Args:
        world: number of processes.
        images: images that a device takes from the data in a step, unlabelled ones included.
        memory: bytes at the peak by part; their sum is the peak.
        flops: operations of matrix products and convolutions by part; ``optimiser``: one for each
            element of each of its kernels.
        collectives: calls by which the process exchanges tensors with the others.
        kernels: operations that a device starts.
        moved: bytes that they read and write, each for itself.
        convolved: those of ``flops`` that are convolutions.
        reads: places where Python asks for a value, which is taken for 1.
        moments: bytes by part at the peak of other moments: ``start`` of the training, and
            ``validation``, of a batch after a step.
        notes: sentences on what these numbers assume.
    """

    world: int
    images: int
    memory: dict[str, int] = field(default_factory=dict)
    flops: dict[str, int] = field(default_factory=dict)
    collectives: list[Collective] = field(default_factory=list)
    kernels: int = 0
    moved: int = 0
    convolved: int = 0
    reads: tuple[str, ...] = ()
    moments: dict[str, dict[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def peak(self) -> int:
        """Bytes at the peak of a step, without what the device's libraries need themselves."""
        return sum(self.memory.values())

    @property
    def peaks(self) -> dict[str, int]:
        """Bytes at the peak of a ``step`` and of every other moment."""
        return {name: sum(parts.values()) for name, parts in self.parts.items()}

    @property
    def parts(self) -> dict[str, dict[str, int]]:
        """Bytes by part, of a ``step`` and of every other moment."""
        return {STEP: self.memory} | self.moments
