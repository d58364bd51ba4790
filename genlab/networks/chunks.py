"""Batches larger than memory, exactly: embedded part by part, with the gradient of the whole batch.

The parts of a batch, chunks, are embedded one after the other and keep nothing for the way back but
their images and the generators' states. The loss is of all embeddings. On the way back a chunk is
embedded again, with the same random numbers, when its turn comes: the last one first. So the memory
of activations is that of one chunk, and the price is one more pass. A parameter's gradient is whole
before anything sees it, so processes exchange it once.

Source: GradCache, Gao, Zhang, Han, Callan 2021, arXiv:2101.06983. Departure: its two passes with a
surrogate loss are ``torch.utils.checkpoint``, within a single backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from genlab.internals import torch_parts
from genlab.networks.multicrop import by_size
from genlab.networks.split_batch_norm import BATCH_NORMS, SplitBatchNorm, check_groups


class Part(NamedTuple):
    """Part of what goes through networks: rows ``first``, ``first + step`` and so on.

    Attributes:
        first: its first row.
        step: number of parts.
        rows: number of rows that the parts are dealt from, B or several views of B; 0 if unknown.
        again: True where it is computed again, on the way back.
    """

    first: int = 0
    step: int = 1
    rows: int = 0
    again: bool = False


_PASSING = [Part()]  # the innermost last


def passing() -> Part:
    """The part that goes through networks now; outside `in_chunks` the whole batch."""
    return _PASSING[-1]


def in_chunks(image: Tensor | Sequence[Tensor], *networks: nn.Module, chunks: int = 1) -> Tensor:
    """Output of networks, one after the other, for a batch in ``chunks`` parts.

    Image i belongs to chunk i modulo ``chunks``. Without gradient nothing is computed twice.

    Args:
        image: (B, C, H, W), or features (B, F), or several views of it, which go through the
            networks together, those of different sizes through the first one by size; B need not
            be a multiple of ``chunks``.
        networks: modules through which it goes; their buffers move once, by the mean of what the
            chunks would do.
        chunks: number of parts; 1 is a plain pass.

    Returns:
        (B, ...), in the images' order; (V B, ...) for V views, the first one's rows first.

    Raises:
        ValueError: fewer images than chunks; batch norm over the whole batch, or in groups of more
            than a chunk.
    """
    views = [image] if isinstance(image, Tensor) else list(image)
    if chunks == 1:
        return _through(views, networks)
    if (images := min(map(len, views))) < chunks:
        raise ValueError(f"chunks {chunks} is more than the {images} images of a pass")
    check_chunks(chunks, *networks)
    for split in _split_norms(networks):
        for view in views:
            check_groups(len(view), split.groups)
    buffers, ends, parts = _moving(networks), list[list[Tensor]](), list[Tensor]()
    for k in range(chunks):
        with _undone(buffers, ends):
            own = [view[k::chunks] for view in views]
            parts.append(_later(own, networks, buffers, Part(k, chunks, len(views[0]))))
    for buffer, values in zip(buffers, zip(*ends, strict=True), strict=True):
        buffer.copy_(torch.stack(values).mean(0) if buffer.is_floating_point() else values[-1])
    shares = [part.split([len(view[k::chunks]) for view in views]) for k, part in enumerate(parts)]
    return _joined([_in_order(own) for own in zip(*shares, strict=True)])


def _in_order(parts: Sequence[Tensor]) -> Tensor:
    """Rows dealt to K parts, row i to part i modulo K, as they were."""
    least = len(parts[-1])
    dealt = torch.stack([part[:least] for part in parts], 1).flatten(0, 1)
    return _joined([dealt, *(part[least:] for part in parts if len(part) > least)])


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Rows one after the other; no copy of a single part."""
    return torch.cat(list(parts)) if len(parts) > 1 else parts[0]


def check_chunks(chunks: int, *networks: nn.Module) -> int:
    """Check that networks give a chunk what they give it within its batch.

    Returns:
        ``chunks``.

    Raises:
        ValueError: fewer than one; batch norm over the whole batch, or in groups of more than a
            chunk.
    """
    if chunks < 1:
        raise ValueError(f"chunks must be at least 1, got {chunks}")
    if chunks == 1:
        return chunks
    for module in (part for network in networks for part in network.modules()):
        if isinstance(module, SplitBatchNorm):
            if module.groups % chunks:
                raise ValueError(f"bn_splits {module.groups} is not a multiple of chunks {chunks}")
        elif isinstance(module, BATCH_NORMS) and module.training:
            raise ValueError(
                f"chunks {chunks} cannot be combined with batch norm, whose statistics are of the "
                f"whole batch: set bn_splits to {chunks}, for statistics of a chunk, or choose "
                "layer norm"
            )
    return chunks


def _through(views: Sequence[Tensor], networks: Sequence[nn.Module]) -> Tensor:
    first, *others = networks
    sizes = {view.shape[1:] for view in views}
    x = first(_joined(views)) if len(sizes) == 1 else torch.cat(by_size(first, views))
    for network in others:
        x = network(x)
    return x


def _later(
    views: Sequence[Tensor], networks: Sequence[nn.Module], buffers: list[Tensor], part: Part
) -> Tensor:
    """Output for a chunk, computed again where its gradient is wanted."""
    modes = torch_parts.function_modes()  # the way back has none of its own

    def passes() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return _as_chunk(networks, part), _again(networks, buffers, part, modes)

    if not torch.is_grad_enabled():
        with _as_chunk(networks, part):
            return _through(views, networks)
    out: Tensor = checkpoint(_through, views, networks, use_reentrant=False, context_fn=passes)
    return out


@contextmanager
def _again(
    networks: Sequence[nn.Module],
    buffers: list[Tensor],
    part: Part,
    modes: list[AbstractContextManager[Any]],
) -> Iterator[None]:
    """The second pass, which moves nothing."""
    with ExitStack() as stack:
        for mode in modes:
            stack.enter_context(mode)
        stack.enter_context(_undone(buffers))
        stack.enter_context(_as_chunk(networks, part._replace(again=True)))
        yield


@contextmanager
def _as_chunk(networks: Sequence[nn.Module], part: Part) -> Iterator[None]:
    """Batch norms have a chunk's share of their groups, and `passing` tells the chunk."""
    with ExitStack() as stack:
        _PASSING.append(part)
        stack.callback(_PASSING.pop)
        for split in _split_norms(networks):
            stack.callback(setattr, split, "groups", split.groups)
            split.groups //= part.step
        yield


@contextmanager
def _undone(buffers: list[Tensor], ends: list[list[Tensor]] | None = None) -> Iterator[None]:
    """Buffers return to their values; those that they had come to are appended to ``ends``."""
    starts = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        if ends is not None:
            ends.append([buffer.clone() for buffer in buffers])
        for buffer, start in zip(buffers, starts, strict=True):
            buffer.copy_(start)


def _split_norms(networks: Sequence[nn.Module]) -> list[SplitBatchNorm]:
    every = (module for network in networks for module in network.modules())
    return [module for module in every if isinstance(module, SplitBatchNorm)]


def _moving(networks: Sequence[nn.Module]) -> list[Tensor]:
    """Buffers that a pass may change: those of modules in training."""
    every = (module for network in networks for module in network.modules())
    return [b for module in every if module.training for b in module.buffers(recurse=False)]
