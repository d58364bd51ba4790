"""Private and undocumented parts of torch and torchvision."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.utils.flop_counter import FlopCounterMode


def shared(rows: int, length: int) -> Tensor:
    """(rows, length) bytes of shared memory, all reserved at once; no other memory is filled.

    `Tensor.share_memory_` copies into it: every page of both is filled once.

    Raises:
        RuntimeError: less is free.
    """
    import torch

    storage: torch.UntypedStorage = torch.UntypedStorage._new_shared(rows * length)
    return torch.empty(0, dtype=torch.uint8).set_(storage).view(rows, length)


def pin(memory: Tensor) -> bool:
    """Let GPUs copy out of memory that exists by themselves; False if the system does not.

    `Tensor.pin_memory` copies it. Never run on a GPU yet.
    """
    import torch

    done = int(torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), memory.nbytes, 0)) == 0
    if not done:  # CUDA reports the error once more at the next kernel
        with suppress(RuntimeError):
            torch.zeros(1, device="cuda")
    return done


def unpin(address: int) -> None:
    """End what `pin` began."""
    import torch

    torch.cuda.cudart().cudaHostUnregister(address)


# One kernel for a list of tensors in place of one each: torch's optimisers use them (foreach=True),
# and have no public name for them.


def foreach_add_(into: list[Tensor], other: list[Tensor], alpha: float = 1) -> None:
    """``a += alpha * b`` for each pair, in place."""
    import torch

    torch._foreach_add_(into, other, alpha=alpha)


def foreach_mul_(into: list[Tensor], factor: float | Tensor) -> None:
    """``a *= factor`` for each tensor, in place."""
    import torch

    torch._foreach_mul_(into, factor)


def foreach_lerp_(into: list[Tensor], other: list[Tensor], weight: float) -> None:
    """``a += weight * (b - a)`` for each pair, in place."""
    import torch

    torch._foreach_lerp_(into, other, weight)


def foreach_copy_(into: list[Tensor], other: list[Tensor]) -> None:
    """``a = b`` for each pair, in place."""
    import torch

    torch._foreach_copy_(into, other)


def foreach_clamp_(into: list[Tensor], low: float, high: float) -> None:
    """Each tensor brought into [low, high], in place."""
    import torch

    torch._foreach_clamp_min_(into, low)
    torch._foreach_clamp_max_(into, high)


def foreach_add(some: list[Tensor], other: list[Tensor], alpha: float = 1.0) -> list[Tensor]:
    """``a + alpha * b`` for each pair."""
    import torch

    return list(torch._foreach_add(some, other, alpha=alpha))


def foreach_mul(some: list[Tensor], factors: Sequence[Tensor]) -> list[Tensor]:
    """``a * b`` for each pair of a tensor and a scalar tensor."""
    import torch

    return list(torch._foreach_mul(some, list(factors)))


def foreach_norm(some: list[Tensor], order: float = 2) -> list[Tensor]:
    """The norm of each tensor, Euclidean or of another order."""
    import torch

    return list(torch._foreach_norm(some, order))


@contextmanager
def foreach_everywhere() -> Iterator[None]:
    """While it lasts, optimisers and clipping treat a CPU's tensors in lists, as they do a GPU's.

    So they do with tensors without values, on any device.
    """
    from torch._subclasses.fake_tensor import FakeTensor
    from torch.optim import optimizer
    from torch.utils import _foreach_utils

    known = optimizer._get_foreach_kernels_supported_devices
    kinds = optimizer._foreach_supported_types, _foreach_utils._foreach_supported_types
    optimizer._get_foreach_kernels_supported_devices = lambda: [*known(), "cpu"]
    for kind in kinds:
        kind.append(FakeTensor)
    try:
        yield
    finally:
        optimizer._get_foreach_kernels_supported_devices = known
        for kind in kinds:
            kind.remove(FakeTensor)


def assert_on_device(condition: Tensor, message: str) -> None:
    """Stop the program where a tensor is false, without waiting for its device.

    The only assertion of torch that does not fetch the value. Without it the value is fetched.

    Raises:
        RuntimeError: false, on a CPU; a GPU reports it at a later call.
    """
    import torch

    if hasattr(torch, "_assert_async"):
        torch._assert_async(condition, message)
    elif not condition:
        raise RuntimeError(message)


def ignore_in_ddp(module: nn.Module, names: Iterable[str]) -> None:
    """Keep parameters and buffers out of DDP: never sent, never waited for.

    Read by DistributedDataParallel's constructor; its setter is private too.
    """
    module._ddp_params_and_buffers_to_ignore = list(names)  # type: ignore[assignment]


def fake_store() -> Any:
    """Meeting point of a process group whose other processes do not exist; its backend: fake."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    return FakeStore()


def ignored_by_ddp(module: nn.Module) -> list[str]:
    """Names of the parameters and buffers that `ignore_in_ddp` keeps out."""
    return list(getattr(module, "_ddp_params_and_buffers_to_ignore", ()))


def check_gpus_once() -> None:
    """Let torch remember that there is no GPU.

    Lightning has it ask NVIDIA's driver anew each time. Optimisers ask at every step, and a search
    for a library that is not there takes 43 microseconds.
    """
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


def flop_counter() -> FlopCounterMode:
    """Torch's counter of floating point operations, with all of them under one name.

    Its own tracker of modules cannot follow a gradient of a gradient.
    """
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _Everything()  # type: ignore[assignment]
    return counter


class _Everything:
    """FlopCounterMode's view of modules: one."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def compiled_frames() -> int:
    """Number of Python functions that `torch.compile` has compiled so far in this process."""
    from torch._dynamo.utils import counters

    return int(counters["frames"]["ok"])


def on_host(tensor: Tensor) -> bool:
    """True if Python can read values without stalling an accelerator.

    A fake tensor stands for one on an accelerator: it has no values at all.
    """
    from torch._subclasses.fake_tensor import FakeTensor

    return tensor.device.type == "cpu" and not isinstance(tensor, FakeTensor)


def replace_tensors(module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    """Put ``change`` of every parameter and buffer of a module, not of its parts, in its place."""
    every: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
    for own in every:
        for name, tensor in own.items():
            if tensor is not None:
                own[name] = change(tensor)


def flops_of(operation: Any) -> Callable[..., int] | None:
    """Torch's formula for an operation's number of floating point operations; None if it has none.

    It takes the operation's arguments, and ``out_val``.
    """
    from torch.utils.flop_counter import flop_registry

    found: Callable[..., int] | None = flop_registry.get(operation._overloadpacket)
    return found


def tree_leaves(tree: Any) -> list[Any]:
    """Leaves of nested lists, tuples and dictionaries."""
    from torch.utils._pytree import tree_leaves

    return tree_leaves(tree)


def tree_map(change: Callable[[Any], Any], tree: Any) -> Any:
    """Nested lists, tuples and dictionaries with ``change`` of every leaf in its place."""
    from torch.utils._pytree import tree_map

    return tree_map(change, tree)


def inception_branches(block: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """The outputs of a block of torchvision's Inception before it concatenates them."""
    return list(block._forward(x))  # type: ignore[operator]


def group_store() -> Any:
    """The key-value store through which the processes of the default group have met.

    Raises:
        ValueError: no process group.
    """
    from torch.distributed import distributed_c10d

    return distributed_c10d._get_default_store()


def function_modes() -> list[AbstractContextManager[Any]]:
    """The modes that see torch's functions here, the outermost first; the way back has none."""
    from torch.overrides import _get_current_function_mode_stack

    return list(_get_current_function_mode_stack())
