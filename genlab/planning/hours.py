"""Time of a step by each of its bounds, and hours of a training: arithmetic on published peaks.

Nothing here was measured on a GPU. The peaks are the vendors', the rest is assumed, see `gpus`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from genlab.planning.gpus import GB, Gpu, Peak, assumed
from genlab.planning.length import Length
from genlab.planning.step import Collective, Step

BACK = ", gradient"  # behind the name of a collective that a backward pass calls
GRADIENTS = "gradients"  # their exchange runs behind the backward pass
GROWTH = {  # of what passes a link, with the number of GPUs; and the share of a rank's bytes
    "all_reduce": ("flat in N", "2(N-1)/N"),
    "all_gather": ("grows with N", "N-1"),
    "reduce_scatter": ("flat in N", "(N-1)/N"),
    "broadcast": ("flat in N", "1"),
}


@dataclass(frozen=True)
class Cluster:
    """GPUs of a training.

    Args:
        gpu: their kind.
        nodes: number of nodes.
        per_node: GPUs of each.
        network: GB/s between nodes for each GPU, each direction: a ring takes a node's sum.
        utilisation: share of the published arithmetic that is reached.
        cores: processors for each GPU; None where unknown.
        cores_from: origin of their number.
    """

    gpu: Gpu
    nodes: int = 1
    per_node: int = 1
    network: float = field(default_factory=lambda: assumed("network"))
    utilisation: float = field(default_factory=lambda: assumed("utilisation"))
    cores: float | None = None
    cores_from: str = ""

    @property
    def world(self) -> int:
        """Number of GPUs."""
        return self.nodes * self.per_node

    @property
    def link(self) -> float:
        """GB/s of the slowest link of a ring over all GPUs, each direction."""
        inside = self.gpu.link / 2
        return inside if self.nodes == 1 else min(inside, self.network * self.per_node)

    @property
    def start(self) -> float:
        """Seconds that a collective takes before its first byte."""
        return assumed("call_in_node" if self.nodes == 1 else "call_between_nodes") * 1e-6


@dataclass(frozen=True)
class Times:
    """Seconds of a step on one GPU by its bounds.

    Args:
        arithmetic: operations at the peak times the utilisation.
        memory: bytes that operations move, at the published bandwidth; None where that is unknown.
        kernels: starts of all operations by the host, one after the other.
        interconnect: all collectives one after the other.
        exposed: the part of it that no backward pass hides.
        loader: batches from the cores of a GPU; None where that was not measured.
    """

    arithmetic: float
    memory: float | None
    kernels: float
    interconnect: float
    exposed: float
    loader: float | None

    @property
    def on_gpu(self) -> float:
        """Seconds of a step whose batch is there."""
        return max(self.arithmetic, self.memory or 0.0, self.kernels) + self.exposed

    @property
    def step(self) -> float:
        """Seconds of a step: the loader works at the same time as the GPU."""
        return max(self.on_gpu, self.loader or 0.0)

    @property
    def binds(self) -> str:
        """The bound that decides."""
        if (self.loader or 0.0) > self.on_gpu:
            return "loader"
        each = {"arithmetic": self.arithmetic, "memory": self.memory or 0.0,
                "kernels": self.kernels, "interconnect": self.exposed}  # fmt: skip
        return max(each, key=lambda name: each[name])


@dataclass(frozen=True)
class Hours:
    """Length of a training in time; validation, images and checkpoints are left out.

    Args:
        images_per_second: over all GPUs.
        epochs_per_hour: None where the number of images is unknown.
        hours: None where the number of steps is unknown.
        gpu_hours: the same over all GPUs.
    """

    images_per_second: float
    epochs_per_hour: float | None
    hours: float | None
    gpu_hours: float | None


def sent(collective: Collective) -> float:
    """Bytes that pass each link of a ring for all calls of a collective in a step."""
    world = collective.world
    factor = {
        "all_reduce": 2 * (world - 1) / world,
        "all_gather": world - 1,
        "reduce_scatter": (world - 1) / world,
    }
    return collective.bytes * factor.get(collective.kind, float(world > 1))


def growth(collective: Collective, step: Step) -> tuple[str, str]:
    """Growth of traffic with the number of GPUs, and the share of a rank's bytes that is sent.

    The gradient of gathered tensors is that of all ranks: what a rank puts in grows, too.
    """
    if collective.kind == "all_reduce" and collective.name.endswith(BACK):
        name, whole = collective.name.removesuffix(BACK), collective.bytes / collective.world
        there = [one for one in step.collectives if (one.name, one.kind) == (name, "all_gather")]
        if any(one.bytes <= whole for one in there):
            return "grows with N", "2(N-1)/N, of N ranks' gradients"
    return GROWTH.get(collective.kind, ("", ""))


def seconds_of(collective: Collective, cluster: Cluster) -> float:
    """Seconds of a collective in a step, if nothing else goes on."""
    if collective.world == 1:
        return 0.0
    return sent(collective) / (cluster.link * GB) + collective.calls * cluster.start


def times(step: Step, cluster: Cluster, peak: Peak, loaded: float | None = None) -> Times:
    """Seconds of a step by its bounds.

    Args:
        step: its costs.
        cluster: the GPUs.
        peak: arithmetic in the precision of the training.
        loaded: images a second that the cores of a GPU get ready; None where unknown.
    """
    arithmetic = sum(step.flops.values()) / (peak.tflops * 1e12 * cluster.utilisation)
    bandwidth = cluster.gpu.bandwidth
    memory = None if bandwidth is None else step.moved / (bandwidth * GB)
    kernels = step.kernels * assumed("kernel") * 1e-6
    each = {one: seconds_of(one, cluster) for one in step.collectives}
    gradients = sum(time for one, time in each.items() if one.name == GRADIENTS)
    hidden = min(gradients, assumed("backward") * max(arithmetic, memory or 0.0, kernels))
    loader = None if loaded is None else step.images / loaded
    every = sum(each.values())
    return Times(arithmetic, memory, kernels, every, every - hidden, loader)


def hours(step: Step, seconds: float, length: Length) -> Hours:
    """Hours of a training.

    Args:
        step: images of a step on each GPU.
        seconds: time of a step.
        length: number of its steps.
    """
    epochs = None if length.epoch is None else 3600 / (length.epoch * seconds)
    found = None if length.steps is None else length.steps * seconds / 3600
    every = None if found is None else found * step.world
    return Hours(step.images * step.world / seconds, epochs, found, every)
