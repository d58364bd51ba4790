"""A recipe's training with values, counted as a plan counts the one without."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from genlab.internals import torch_parts
from genlab.planning import batches, inner, watching
from genlab.planning.counting import Counting
from genlab.planning.fake import Counted, alone, as_on_cuda, leave_out, quiet
from genlab.planning.step import Step
from genlab.recipes import Recipe
from genlab.testing.host_reads import elsewhere
from genlab.training.building import build


def real_step(recipe: Recipe) -> Step:
    """What `fake_step` says of one process, of a training on this CPU on the recipe's own data.

    It takes the way of a device, as the plan does: the guard against NaN undoes late, and nothing
    is looked at on the host. Loader, weights and all kernels are real.

    Args:
        recipe: resolved; small enough for this machine.
    """
    with tempfile.TemporaryDirectory() as folder, quiet(), as_a_device():
        lone = alone(recipe)
        inner.untrained(lone, Path(folder))
        lab = build(lone, Path(folder))
        count = Counting()
        watch = watching.Watch(count, recipe, 1)
        leave_out(lab.trainer, watch)
        data = Read(lab.data, lab.trainer, count)
        with watch.hooks(lab.model), count, watch.ended():
            lab.trainer.fit(lab.model, datamodule=data)
        return watch.step(data.taken)


@contextmanager
def as_a_device() -> Iterator[None]:
    """Tensors of the CPU take the way that genlab and torch have for those of a GPU."""
    with as_on_cuda(), mock.patch.object(torch_parts, "on_host", elsewhere):
        yield


class Read(Counted):
    """A data module with its own batches; the loader's memory is the host's, not a device's.

    Args:
        data: the module in question.
        trainer: trainer that its loader is made for.
        count: counter of the batch's memory.
    """

    def __init__(self, data: Any, trainer: Any, count: Any) -> None:
        super().__init__(data, 0, count)
        data.prepare_data()
        data.trainer = trainer
        self.loader = iter(self._endless())

    class_counts = property(lambda self: self.inner.class_counts)
    label_record = property(lambda self: self.inner.label_record)
    unlabeled_index = property(lambda self: self.inner.unlabeled_index)

    def bank_dataloader(self, *args: Any, **kwargs: Any) -> Any:
        """All images, for the methods that encode them at their start."""
        inner: Any = self.inner
        with _disable_current_modes():
            return list(inner.bank_dataloader(*args, **kwargs))

    def val_dataloader(self) -> Any:
        """Batches of validation, read when they are asked for."""
        inner: Any = self.inner
        with _disable_current_modes():
            loader = inner.val_dataloader()
        left: list[Any] = []

        def make() -> Any:
            with _disable_current_modes():
                if not left:
                    left.extend(_moved(batch) for batch in loader)
            return self.seen(left.pop(0))

        return batches.Endless(make, len(loader)) if len(loader) else []

    def seen(self, raw: Any) -> Any:
        """A batch, counted."""
        self.count.see_all(watching.tensors(raw), "batch")
        return raw

    def _endless(self) -> Iterator[Any]:
        while True:
            yield from self.inner.train_dataloader()

    def copied(self) -> Any:
        """The next batch, in memory of its own."""
        with _disable_current_modes():
            host = next(self.loader)
        return _moved(host)

    def make(self) -> Any:
        raw = self.copied()
        self.taken = batches.size(raw)
        return self.seen(raw)


def _moved(part: Any) -> Any:
    """A copy, as on a device."""
    if isinstance(part, dict):
        return {name: _moved(value) for name, value in part.items()}
    if isinstance(part, list):
        return [_moved(value) for value in part]
    return part.clone() if isinstance(part, Tensor) else part
