"""Numbers among tensors, made where they are wanted."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from genlab.losses.numbers import as_tensor_of, precise


class Names(TorchDispatchMode):
    """Operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.seen.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_a_number_is_made_on_its_device_and_not_copied_there() -> None:
    like = torch.empty(2, device="meta", dtype=torch.float64)
    with Names() as names:
        made = as_tensor_of(like, 0.5)
    assert names.seen == ["full"]
    assert (made.device.type, made.dtype, made.shape) == ("meta", torch.float64, ())
    assert as_tensor_of(torch.ones(1), -3.0).item() == -3.0


def test_a_tensor_takes_type_and_device() -> None:
    given = torch.tensor([0.5], dtype=torch.bfloat16)
    assert as_tensor_of(torch.ones(1), given).dtype == torch.float32
    assert as_tensor_of(given, given) is given


def test_half_precision_is_widened_and_the_rest_left() -> None:
    kinds = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
    assert [precise(torch.ones(1, dtype=kind)).dtype for kind in kinds] == [
        *[torch.float32] * 3,
        torch.float64,
    ]
