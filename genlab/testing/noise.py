"""Random numbers that belong to an image, wherever in the batch it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from genlab.augment import draws
from genlab.testing.batches import Rows

MOST = 4  # stacked batches: two views in one pass, several samples of an image


class RowNoise(TorchDispatchMode):
    """Draws for the base batch, and hands every row of the present one its image's share.

    Two processes with half a batch each, a permuted batch and a repeated one then see the noise
    that one process sees with the batch as it was. What has no row for an image (the drawing of
    codes, say) is drawn alike everywhere. Draws from a generator of their own stay as they are, and
    those of `draws.for_this_rank` are shared out by the same rows.
    All are made on the CPU: a GPU gets the same.

    Args:
        rows: numbers of images in the batch, each with their rows in the base batch.
        seed: batch seed.
    """

    def __init__(self, rows: Rows, seed: int) -> None:
        super().__init__()
        self.rows = rows
        self.generator = torch.Generator()
        self.generator.manual_seed(seed)
        self._dealing = mock.patch.object(draws, "rows_of_this_rank", self._dealt)
        self._plainly = draws.rows_of_this_rank

    def __enter__(self) -> RowNoise:
        self._dealing.start()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._dealing.stop()

    def _dealt(self, count: int) -> tuple[slice | Tensor, int]:
        return self.rows.get(count) or self._plainly(count)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        draw = DRAWS.get(func.overloadpacket.__name__)
        if draw is None or given.get("generator") is not None:
            return func(*args, **given)
        return draw(self, func, list(args), given)

    def unit(self, shape: Sequence[int]) -> Tensor:
        """Uniform in [0, 1), float64, of this shape."""
        return self._share(tuple(shape), torch.rand)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal, float64, of this shape."""
        return self._share(tuple(shape), torch.randn)

    def _share(self, shape: tuple[int, ...], kind: Callable[..., Tensor]) -> Tensor:
        place = self._batch_dimension(shape)
        options: dict[str, Any] = {"generator": self.generator, "dtype": torch.float64}
        if place is None:
            return kind(shape, **options)
        dim, many, rows, base = place
        whole = kind((*shape[:dim], many, base, *shape[dim + 1 :]), **options)
        return whole.index_select(dim + 1, rows).reshape(shape)

    def _batch_dimension(self, shape: tuple[int, ...]) -> tuple[int, int, Tensor, int] | None:
        """Where the images stand: dimension, batches stacked in it, their rows, base size."""
        for many in range(1, MOST + 1):
            for dim, length in enumerate(shape):
                for size, (rows, base) in self.rows.items():
                    if length == many * size:
                        return dim, many, rows, base
        return None


def _new(kind: str) -> Callable[..., Tensor]:
    def draw(mode: RowNoise, func: Any, args: list[Any], given: dict[str, Any]) -> Tensor:
        like = args[0] if isinstance(args[0], Tensor) else None
        drawn = getattr(mode, kind)(args[0] if like is None else like.shape)
        return drawn.to(_device(like, given), _dtype(like, given))

    return draw


def _device(like: Tensor | None, given: dict[str, Any]) -> torch.device:
    return torch.device(given.get("device") or (like.device if like is not None else "cpu"))


def _dtype(like: Tensor | None, given: dict[str, Any]) -> torch.dtype:
    dtype = given.get("dtype") or (like.dtype if like is not None else None)
    return dtype or torch.get_default_dtype()


def _integers(mode: RowNoise, func: Any, args: list[Any], given: dict[str, Any]) -> Tensor:
    like = args.pop(0) if isinstance(args[0], Tensor) else None
    lists = (a for a in args if isinstance(a, list | tuple))
    shape = next(lists) if like is None else like.shape
    bounds = [a for a in args if isinstance(a, int)]
    low, high = ([0, *bounds])[-2:]
    drawn = (mode.unit(shape) * (high - low)).floor() + low
    return drawn.to(_device(like, given), given.get("dtype") or torch.int64)


def _in_place(fill: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def draw(mode: RowNoise, func: Any, args: list[Any], given: dict[str, Any]) -> Tensor:
        target: Tensor = args[0]
        rest = args[1:] + list(given.values())
        return target.copy_(fill(mode, target.shape, *(a for a in rest if a is not None)))

    return draw


def _bernoulli(mode: RowNoise, func: Any, args: list[Any], given: dict[str, Any]) -> Tensor:
    chance = args[0] if len(args) < 2 else args[1]
    return (mode.unit(args[0].shape).to(args[0].device) < chance).to(args[0].dtype)


def _dropout(
    mode: RowNoise, func: Any, args: list[Any], given: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """A GPU's dropout in one kernel, by the draws of a CPU's."""
    image, chance, training = args
    if not training:
        return image.clone(), torch.ones_like(image, dtype=torch.bool)
    kept = (mode.unit(image.shape) < 1 - chance).to(image.device)
    return image * kept / (1 - chance), kept


DRAWS: dict[str, Callable[..., Any]] = {
    "rand": _new("unit"),
    "rand_like": _new("unit"),
    "randn": _new("normal"),
    "randn_like": _new("normal"),
    "randint": _integers,
    "randint_like": _integers,
    "bernoulli": _bernoulli,
    "native_dropout": _dropout,
    "bernoulli_": _in_place(lambda mode, shape, chance=0.5: (mode.unit(shape) < chance).double()),
    "uniform_": _in_place(lambda mode, shape, a=0.0, b=1.0: a + (b - a) * mode.unit(shape)),
    "normal_": _in_place(lambda mode, shape, mean=0.0, std=1.0: mean + std * mode.normal(shape)),
    "exponential_": _in_place(lambda mode, shape, rate=1.0: -torch.log1p(-mode.unit(shape)) / rate),
}
