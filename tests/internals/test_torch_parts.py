"""Every private part of torch and torchvision that genlab reaches for does what it is said to."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision.models import inception

from genlab.internals import torch_parts as parts


def pairs() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    return [torch.rand(2, 3), torch.rand(4)], [torch.rand(2, 3), torch.rand(4)]


def test_foreach_in_place() -> None:
    for name, expected in {
        "foreach_add_": lambda a, b: a + 0.5 * b,
        "foreach_lerp_": lambda a, b: a.lerp(b, 0.5),
    }.items():
        mine, other = pairs()
        wanted = [expected(a, b) for a, b in zip(mine, other, strict=True)]
        getattr(parts, name)(mine, other, 0.5)
        torch.testing.assert_close(mine, wanted)
    mine, other = pairs()
    parts.foreach_copy_(mine, other)
    torch.testing.assert_close(mine, other, rtol=0, atol=0)
    parts.foreach_mul_(mine, 2.0)
    torch.testing.assert_close(mine, [2 * x for x in other])
    parts.foreach_clamp_(mine, 0.5, 1.5)
    torch.testing.assert_close(mine, [(2 * x).clamp(0.5, 1.5) for x in other])


def test_foreach_anew() -> None:
    mine, other = pairs()
    expected = [a + 0.5 * b for a, b in zip(mine, other, strict=True)]
    torch.testing.assert_close(parts.foreach_add(mine, other, 0.5), expected)
    torch.testing.assert_close(parts.foreach_norm(mine), [x.norm() for x in mine])
    factors = torch.tensor([2.0, 3.0]).unbind()
    torch.testing.assert_close(parts.foreach_mul(mine, factors), [2 * mine[0], 3 * mine[1]])


@pytest.mark.parametrize("name", [
    "_foreach_add_", "_foreach_lerp_", "_foreach_copy_", "_foreach_mul_", "_foreach_clamp_min_",
    "_foreach_clamp_max_",
])  # fmt: skip
def test_the_test_in_place_fails_where_a_name_is_gone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch, name)
    with pytest.raises(AttributeError, match=name):
        test_foreach_in_place()


@pytest.mark.parametrize("name", ["_foreach_add", "_foreach_norm", "_foreach_mul"])
def test_the_test_anew_fails_where_a_name_is_gone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch, name)
    with pytest.raises(AttributeError, match=name):
        test_foreach_anew()


class Registry:
    """CUDA's register of pinned memory, which takes one piece."""

    held: int | None = None

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:
        free, self.held = self.held is None, self.held or address
        return 0 if free else 2

    def cudaHostUnregister(self, address: int) -> None:
        assert self.held == address
        self.held = None


def test_memory_is_pinned_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    monkeypatch.setattr(torch.cuda, "cudart", lambda: registry)
    memory = parts.shared(2, 3)
    assert parts.pin(memory)
    assert not parts.pin(memory)
    parts.unpin(memory.data_ptr())
    assert parts.pin(memory)


def test_shared_memory_is_shared_and_not_touched() -> None:
    rows, length = 3, 1 << 24
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    memory = parts.shared(rows, length)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < rows * length / 4096 / 4
    assert memory.shape == (rows, length)
    assert memory.dtype == torch.uint8
    assert memory.is_shared()
    assert memory[2, -1] == 0
    child = os.fork()
    if not child:
        memory[1, 7] = 42
        os._exit(0)
    os.waitpid(child, 0)
    assert memory[1, 7] == 42


def test_assert_on_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hasattr(torch, "_assert_async")
    for there in (True, False):
        if not there:
            monkeypatch.delattr(torch, "_assert_async")
        parts.assert_on_device(torch.tensor(True), "never seen")
        with pytest.raises(RuntimeError, match="labels are missing"):
            parts.assert_on_device(torch.tensor(False), "labels are missing")


def test_ignore_in_ddp(tmp_path: Path) -> None:
    module = nn.BatchNorm1d(3)
    parts.ignore_in_ddp(module, ["running_mean"])
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1
    )
    try:
        wrapped = nn.parallel.DistributedDataParallel(module)
        sent = {id(buffer) for buffer in wrapped.modules_buffers}
    finally:
        torch.distributed.destroy_process_group()
    assert id(module.running_mean) not in sent
    assert id(module.running_var) in sent


def test_check_gpus_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch reads the variable at each question, and asks NVIDIA's driver at 1 only."""
    asked: list[int] = []

    def none() -> int:
        asked.append(1)
        return 0

    monkeypatch.setattr(torch.cuda, "_device_count_nvml", none)
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    assert not torch.cuda.is_available()
    assert asked == [1]
    parts.check_gpus_once()
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == "0"
    torch.cuda.is_available()
    assert asked == [1]


def test_flop_counter() -> None:
    """Through a gradient of a gradient too, where torch's own tracker raises or loses count."""
    weight = torch.rand(4, 4, requires_grad=True)
    x = torch.rand(2, 4, requires_grad=True)
    with parts.flop_counter() as counter:
        (slope,) = torch.autograd.grad((x @ weight).tanh().sum(), x, create_graph=True)
        slope.square().sum().backward()
    product = 2 * 2 * 4 * 4
    assert counter.get_total_flops() >= 4 * product
    assert counter.get_total_flops() % product == 0


def test_tree_leaves() -> None:
    assert parts.tree_leaves([1, {"a": (2, [3])}]) == [1, 2, 3]


def test_inception_branches() -> None:
    block, x = inception.InceptionA(8, 4).eval(), torch.rand(2, 8, 9, 9)
    branches = parts.inception_branches(block, x)
    assert len(branches) == 4
    torch.testing.assert_close(torch.cat(branches, 1), block(x), rtol=0, atol=0)
    pooled = nn.functional.avg_pool2d(x, 3, stride=1, padding=1)
    torch.testing.assert_close(branches[-1], block.branch_pool(pooled), rtol=0, atol=0)


def test_group_store(tmp_path: Path) -> None:
    from genlab import distributed

    with pytest.raises(ValueError, match="process group"):
        parts.group_store()
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1
    )
    try:
        assert distributed.told("word") is None
        distributed.tell("word", "ünter")
        assert distributed.told("word") == "ünter"
        assert parts.group_store().check(["genlab/word"])
    finally:
        distributed.leave()


def test_a_fake_tensor_is_not_on_the_host() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    assert parts.on_host(torch.ones(2))
    assert not parts.on_host(torch.ones(2, device="meta"))
    with FakeTensorMode():
        assert not parts.on_host(torch.ones(2))


def test_parameters_and_buffers_of_a_module_are_replaced_and_its_parts_stay() -> None:
    norm = nn.BatchNorm1d(3)
    whole = nn.Sequential(norm)
    parts.replace_tensors(whole, torch.zeros_like)
    assert bool(norm.weight.all())
    parts.replace_tensors(norm, lambda t: nn.Parameter(t + 1) if t.is_floating_point() else t)
    assert norm.weight.tolist() == [2.0] * 3
    assert norm.running_mean is not None
    assert norm.running_mean.tolist() == [1.0] * 3


def test_operations_of_a_product_by_torchs_formula() -> None:
    formula = parts.flops_of(torch.ops.aten.mm.default)
    a, b = torch.ones(2, 3), torch.ones(3, 5)
    assert formula is not None
    assert formula(a, b, out_val=a @ b) == 2 * 2 * 3 * 5
    assert parts.flops_of(torch.ops.aten.relu.default) is None


def test_optimisers_take_lists_on_a_cpu_while_asked() -> None:
    from torch.optim.optimizer import _default_to_fused_or_foreach as chosen

    own: list[torch.Tensor] = [nn.Parameter(torch.ones(2))]
    assert chosen(own, differentiable=False) == (False, False)
    with parts.foreach_everywhere():
        assert chosen(own, differentiable=False) == (False, True)
    assert chosen(own, differentiable=False) == (False, False)


def test_what_ddp_is_to_leave_out_is_told() -> None:
    module = nn.Linear(2, 2)
    assert parts.ignored_by_ddp(module) == []
    parts.ignore_in_ddp(module, ["weight"])
    assert parts.ignored_by_ddp(module) == ["weight"]


def test_every_leaf_is_changed_and_the_tree_stays() -> None:
    assert parts.tree_map(lambda x: x + 1, {"a": [1, (2, 3)]}) == {"a": [2, (3, 4)]}


def test_compiled_functions_are_counted() -> None:
    from torch._dynamo.utils import counters

    before = parts.compiled_frames()
    counters["frames"]["ok"] += 2  # as a compilation does
    assert parts.compiled_frames() == before + 2
    counters["frames"]["ok"] -= 2


def test_processes_that_do_not_exist_meet_in_a_fake_store() -> None:
    import torch.distributed as dist

    dist.init_process_group("fake", rank=1, world_size=3, store=parts.fake_store())
    try:
        found = [torch.zeros(2) for _ in range(dist.get_world_size())]
        dist.all_gather(found, torch.ones(2))
        assert len(found) == 3
        assert dist.get_rank() == 1
    finally:
        dist.destroy_process_group()


def test_the_modes_that_see_functions() -> None:
    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            return func(*args, **(kwargs or {}))

    assert parts.function_modes() == []
    with Mode() as outer, Mode() as inner:
        assert parts.function_modes() == [outer, inner]
    assert parts.function_modes() == []
