from __future__ import annotations

from dataclasses import replace

import pytest

from genlab.planning import gpus
from genlab.planning.hours import Cluster, Times, growth, hours, seconds_of, sent, times
from genlab.planning.length import Length
from genlab.planning.step import Collective, Step

GPU = gpus.find("a100-40")
PEAK = gpus.peak(GPU, "bf16-mixed", convolves=True)
FLOPS = {"encoder": 10**12, "loss": 10**10}
STEP = Step(1, 100, {"activations": 10**9}, FLOPS, [], kernels=500, moved=2 * 10**9)


def exchange(kind: str, world: int, size: int = 10**8, name: str = "gradients") -> Collective:
    return Collective(name, kind, 1, size, world)


@pytest.mark.parametrize(
    ("kind", "world", "factor"),
    [("all_reduce", 1, 0), ("all_reduce", 2, 1), ("all_reduce", 8, 1.75), ("all_gather", 8, 7),
     ("reduce_scatter", 4, 0.75), ("broadcast", 4, 1), ("broadcast", 1, 0)],
)  # fmt: skip
def test_a_ring_sends(kind: str, world: int, factor: float) -> None:
    assert sent(exchange(kind, world)) == pytest.approx(factor * 10**8)


def test_gradients_of_gathered_tensors_grow_with_the_number_of_gpus() -> None:
    there = exchange("all_gather", 8, 1000, "loss")
    back = exchange("all_reduce", 8, 8000, "loss, gradient")
    other = exchange("all_reduce", 8, 8000, "statistics, gradient")
    norms = exchange("all_gather", 8, 1000, "batch norm")
    sums = exchange("all_reduce", 8, 1000, "batch norm, gradient")
    step = replace(STEP, world=8, collectives=[there, back, other, norms, sums])
    grows = [growth(one, step)[0] == "grows with N" for one in step.collectives]
    assert grows == [True, True, False, True, False]


def test_the_slowest_link_is_between_nodes() -> None:
    inside, outside = Cluster(GPU, 1, 8), Cluster(GPU, 2, 4)
    assert (inside.link, outside.link, Cluster(GPU, 2, 4, network=500).link) == (300, 100, 300)
    one = exchange("all_reduce", 8, 25 * 10**9)
    assert seconds_of(one, outside) == pytest.approx(1.75 * 25 / 100, rel=1e-3)
    assert seconds_of(one, inside) == pytest.approx(1.75 * 25 / 300, rel=1e-3)


def test_a_ring_takes_the_network_of_all_gpus_of_a_node() -> None:
    """NCCL's bus bandwidth, as published: 8 x 100 Gb/s give at most 100 GB/s, one 200 Gb/s 25."""
    assert Cluster(GPU, 4, 1).link == 25
    assert Cluster(GPU, 4, 8).link == 200
    assert Cluster(GPU, 2, 8, network=12.5).link == 100
    assert Cluster(GPU, 4, 8, network=25 / 8).link == 25  # one card for the whole node


def test_arithmetic_takes_flops_over_peak_and_utilisation() -> None:
    found = times(STEP, Cluster(GPU, utilisation=0.5), PEAK)
    assert found.arithmetic == pytest.approx(1.01e12 / (312e12 * 0.5))
    assert found.memory == pytest.approx(2e9 / 1555e9)
    assert found.kernels == pytest.approx(500 * 8e-6)
    assert (found.exposed, found.loader, found.binds) == (0, None, "arithmetic")
    assert times(STEP, Cluster(replace(GPU, bandwidth=None)), PEAK).memory is None


def test_gradients_travel_behind_the_backward_pass() -> None:
    cluster = Cluster(GPU, 2, 4, network=25 / 4)
    quick = replace(STEP, world=8, collectives=[exchange("all_reduce", 8)])
    assert times(quick, cluster, PEAK).exposed == pytest.approx(
        seconds_of(quick.collectives[0], cluster) - 0.67 * times(quick, cluster, PEAK).arithmetic
    )
    other = replace(quick, collectives=[exchange("all_gather", 8, 10**6, "keys")])
    assert times(other, cluster, PEAK).exposed == times(other, cluster, PEAK).interconnect > 0


@pytest.mark.parametrize(
    ("given", "binds", "step"),
    [
        (Times(3.0, 1.0, 0.5, 5.0, 2.0, 4.0), "arithmetic", 5.0),
        (Times(3.0, 1.0, 0.5, 9.0, 4.0, 4.0), "interconnect", 7.0),
        (Times(1.0, 3.0, 0.5, 0.0, 0.0, None), "memory", 3.0),
        (Times(1.0, 3.0, 3.5, 0.0, 0.0, None), "kernels", 3.5),
        (Times(3.0, None, 0.5, 1.0, 1.0, 4.5), "loader", 4.5),
    ],
)
def test_the_bound_that_binds(given: Times, binds: str, step: float) -> None:
    assert (given.binds, given.step) == (binds, step)


def test_hours_are_steps_times_seconds() -> None:
    step = replace(STEP, world=8)
    found = hours(step, 0.5, Length(80_000, "", 100, 7200, "trainer.max_epochs=72"))
    assert found.images_per_second == 1600
    assert (found.epochs_per_hour, found.hours, found.gpu_hours) == (72, 1, 8)
    unknown = hours(step, 0.5, Length(None, "", None, None, ""))
    assert (unknown.epochs_per_hour, unknown.hours, unknown.gpu_hours) == (None, None, None)
