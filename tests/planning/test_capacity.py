from __future__ import annotations

from genlab.planning import gpus
from genlab.planning.capacity import need
from genlab.planning.step import Step

GB = 10**9


def test_the_allowance_is_added_and_said() -> None:
    alone, many = (need(Step(world, 8, {"activations": 10 * GB})) for world in (1, 2))
    assert sum(alone.live.values()) == 10 * GB
    assert alone.total == 10 * GB + sum(alone.allowance.values())
    assert alone.allowance["slack"] == GB // 2
    assert many.total - alone.total == many.allowance["nccl"] == 0.4 * GB


def test_a_gpu_is_full_at_its_bytes() -> None:
    gpu = gpus.find("l4")
    fixed = sum(need(Step(1, 1, {})).allowance.values())
    room = int((gpu.bytes - fixed) / 1.05)
    assert need(Step(1, 1, {"activations": room - 100})).fits(gpu)
    assert not need(Step(1, 1, {"activations": room + 100})).fits(gpu)
