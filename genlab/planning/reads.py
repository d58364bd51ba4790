"""Code of a step that reads a value where tensors have none: an answer, or a refusal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from genlab.errors import InputError, RecipeError, first_line

SELECTS = ("nonzero", "index", "masked_select", "bincount")
LOOKS = ("_local_scalar_dense", "is_nonzero", "equal")
OWN = ("genlab/planning/", "genlab/distributed.py", "genlab/internals/", "genlab/testing/")
LIBRARIES = ("/torch/", "/lightning/", "/torchmetrics/", "/timm/")
OUTSIDE = (
    *OWN,
    *LIBRARIES,
    "/lightning_utilities/",
    "/contextlib.py",
    "/functools.py",
    "/mock.py",
    "<",
)


def answer(name: str, tensor: Tensor) -> Any:
    """One, or true: the reply to code that asks for an unknown value.

    Args:
        name: operation, of `LOOKS`.
        tensor: tensor that it asks.
    """
    return torch.tensor(1, dtype=tensor.dtype).tolist() if name == LOOKS[0] else True


def all_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Result of an operation that selects by values, where it selects all.

    Args:
        name: operation, of `SELECTS`.
        args: its arguments.
        kwargs: more of them.
    """
    tensor = args[0]
    if name == "bincount":
        return torch.empty(max(1, kwargs.get("minlength", args[-1])), dtype=torch.int64)
    if name == "nonzero":
        return torch.empty(tensor.numel(), tensor.dim(), dtype=torch.int64)
    if name == "masked_select":
        shape = torch.broadcast_shapes(tensor.shape, args[1].shape)
        return torch.empty(shape.numel(), dtype=tensor.dtype)
    places: list[Tensor | None] = []
    for mask in args[1]:
        by_mask = mask is not None and mask.dtype in (torch.bool, torch.uint8)
        every = torch.arange(mask.numel()) if by_mask else mask
        places += [every] * (mask.dim() if by_mask else 1)
    return torch.ops.aten.index(tensor, places)


def unknown(tensor: Tensor) -> bool:
    """True of a tensor that has a shape and no value."""
    return isinstance(tensor, FakeTensor) and tensor.constant is None


@contextmanager
def arrays() -> Iterator[None]:
    """NumPy's arrays of tensors without values are full of the answer to one."""
    real = Tensor.numpy

    def numpy(tensor: Tensor, *, force: bool = False) -> Any:
        if not isinstance(tensor, FakeTensor):
            return real(tensor, force=force)
        value = tensor.detach().reshape(-1)[0].item() if tensor.numel() else 0
        return np.full(tensor.shape, value, str(tensor.dtype).removeprefix("torch."))

    with mock.patch.object(Tensor, "numpy", numpy):
        yield


def refusal(name: str) -> RecipeError:
    """The error of a step whose shapes depend on values.

    Args:
        name: operation that makes them.
    """
    what = f"the step reads values here ({name}): its shapes depend on them"
    return RecipeError(what, place(), "a step without values cannot be planned behind that")


@contextmanager
def explained(read: Sequence[str]) -> Iterator[None]:
    """Say of an error behind a read that a made-up value may be the reason.

    Args:
        read: places of reads so far.

    Raises:
        RecipeError: it does not go on.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not read:
            raise
        said = f"{type(error).__name__}: {first_line(error)}"
        what = f"the step reads a value here, which a plan takes for 1, and stops: {said}"
        raise RecipeError(what, read[-1]) from error


def place() -> str:
    """File and line of the innermost code that is neither a library's nor a wrapper."""
    frame: Any = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        path = frame.f_code.co_filename.replace("\\", "/")
        if not any(part in path for part in OUTSIDE):
            return f"{short(path)}:{frame.f_lineno}"
        frame = frame.f_back
    return "a library"


def short(path: str) -> str:
    """A path below the working directory or the package, as people name it."""
    inside = path.rpartition("/genlab/")[2]
    if inside != path:
        return f"genlab/{inside}"
    here = Path(path)
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else here.name
