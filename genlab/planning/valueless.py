"""A training whose tensors have shapes and no values: what asks for a value gets a plain answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import timm.optim
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from genlab import metrics
from genlab.augment import mixing, ops
from genlab.data.encoded_images import EncodedImages
from genlab.data.errors import MissingDataError
from genlab.internals import torch_parts
from genlab.methods import linear
from genlab.planning import banks, reads
from genlab.training.engine import finite, snapshot, verdict

IMAGENET = 1000
ANSWERS: list[tuple[Any, str, Any]] = [  # the guard against NaN, which reads between steps
    (finite, "is_finite", lambda tensor: True),
    (finite, "first_bad", lambda losses: None),
    (finite, "gradients_finite", lambda gradients, norm=None: True),
    (verdict.Verdict, "read", lambda self, under_way: None),
    (snapshot, "address", lambda tensor: (id(tensor.untyped_storage()), tensor.storage_offset())),
    (snapshot, "memory_of", lambda tensor: id(tensor.untyped_storage())),
    (ops, "sizes_of", lambda number, count: _dealt(len(number), count)),
    (mixing, "_numpy_seeded_by_torch", nullcontext),
]


def _forget_constants() -> None:
    """Empty genlab's caches: a constant made without a value would be handed out with one's."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "genlab" and hasattr(module, "Tensor"):
            for value in list(vars(module).values()):
                if callable(clear := getattr(value, "cache_clear", None)):
                    clear()


def _second(step: Any) -> float:
    """Number of the step; a mock's own answer would keep what it was asked about."""
    return 2.0


def _dealt(images: int, groups: int) -> list[int]:
    """Sizes of groups as equal as they can be."""
    return [images // groups + (k < images % groups) for k in range(groups)]


@contextmanager
def answered(collect: banks.Collect = banks.small) -> Iterator[None]:
    """Answers for code that reads values on the host outside of what a device computes.

    Args:
        collect: maker of the banks that a training encodes at its start.
    """
    encoded = [(linear, "collect", collect), (metrics, "collect", collect)]
    with ExitStack() as stack:
        for owner, name, answer in (*ANSWERS, *encoded):
            stack.enter_context(mock.patch.object(owner, name, answer))
        for module in vars(timm.optim).values():  # its steps are counted in tensors of the host
            if hasattr(module, "_get_value"):
                stack.enter_context(mock.patch.object(module, "_get_value", _second))
        stack.enter_context(reads.arrays())
        stack.enter_context(copied())
        stack.callback(_forget_constants)
        _forget_constants()
        yield


@contextmanager
def copied() -> Iterator[None]:
    """Deep copies of tensors without values, as new metrics make: torch copies missing memory."""
    real = Tensor.__deepcopy__

    def deepcopy(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
        if not isinstance(tensor, FakeTensor):
            return real(tensor, memo)
        if id(tensor) not in memo:
            kind = nn.Parameter if isinstance(tensor, nn.Parameter) else Tensor.requires_grad_
            memo[id(tensor)] = kind(tensor.detach().clone(), tensor.requires_grad)
        found: Tensor = memo[id(tensor)]
        return found

    with mock.patch.object(Tensor, "__deepcopy__", deepcopy):
        yield


@contextmanager
def classes_assumed() -> Iterator[None]:
    """A folder of images that is elsewhere has ImageNet's 1,000 classes, unless it is named."""
    own: Any = EncodedImages.num_classes

    def count(data: EncodedImages) -> int:
        try:
            return int(own.fget(data))
        except MissingDataError:
            return IMAGENET

    with mock.patch.object(EncodedImages, "num_classes", property(count)):
        yield


def without_values(module: nn.Module, mode: FakeTensorMode, device: str = "cpu") -> None:
    """Replace every parameter and buffer by one that has a shape and no value.

    Args:
        module: changed in place; shared tensors stay shared.
        mode: world of the new tensors.
        device: their device, which need not exist.
    """
    made: dict[int, Tensor] = {}
    real: list[Tensor] = []  # kept: the address of one that is gone comes again

    def fake(tensor: Tensor) -> Tensor:
        if id(tensor) not in made:
            real.append(tensor)
            with mode:
                like = torch.empty_strided(
                    tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device
                )
            made[id(tensor)] = like
            if isinstance(tensor, nn.Parameter):
                made[id(tensor)] = nn.Parameter(like, requires_grad=tensor.requires_grad)
        return made[id(tensor)]

    for part in module.modules():
        if hasattr(part, "initialised"):
            for flag in ("done", "started"):  # of what the first batch's values set
                if hasattr(part, flag):
                    setattr(part, flag, True)
        torch_parts.replace_tensors(part, fake)
