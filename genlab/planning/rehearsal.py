"""A training's first steps without values, on a GPU that is not there or as any of its ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import SimpleNamespace
from typing import Any, Self
from unittest import mock

import lightning as L
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from genlab import distributed
from genlab.augment import draws
from genlab.internals import lightning_parts, torch_parts
from genlab.planning.batches import Given, knows
from genlab.planning.counting import BACKWARD, FORWARD, OPTIMISER
from genlab.planning.exam import Exam
from genlab.planning.fake import as_on_cuda, quiet
from genlab.planning.valueless import answered, without_values
from genlab.planning.watching import Enough
from genlab.training.engine.finite import FiniteGuard

Play = tuple[L.LightningModule, L.LightningDataModule, L.Trainer]
Make = Callable[[L.Callback], Play]  # method, data and a trainer with the callback, all fresh
GPU = torch.device("cuda", 0)
CACHE = 40 * 2**20  # bytes of a GPU's: timm's optimisers cut their tensors by it


def rehearse(
    make: Make, images: int, exam: Exam, world: int = 1, rank: int = 0, ready: Any = None
) -> None:
    """A training's first step, or two on a GPU, examined.

    On a GPU's tensors there is no way back, which torch refuses: gradients appear.

    Args:
        make: maker of a method, its data and a trainer.
        images: images of a device's batch, labelled ones where there are both.
        exam: observer of the step.
        world: number of processes.
        rank: this one's number.
        ready: a batch as a method gets it, in place of one that is made ready.
    """
    method, data, trainer = make(Phases(exam))
    given = Sent(data, images, exam, ready)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with ExitStack() as stack:
        stack.enter_context(quiet())
        stack.enter_context(distributed.pretended(world, rank))
        stack.enter_context(answered())
        stack.enter_context(as_on_cuda())
        agreed = mock.patch.object(FiniteGuard, "_any_rank", lambda _, mine: mine)
        stack.enter_context(agreed)  # at the first step, on a value
        if exam.device != "cpu":
            with mode:
                method.to(exam.device)
        without_values(method, mode, exam.device)
        stack.enter_context(mode)
        if exam.device != "cpu":
            stack.enter_context(lightning_parts.on_device(trainer, torch.device(exam.device)))
            stack.enter_context(_far(method))
        exam.begin(method)
        method.cpu = method.to = lambda *_, **__: method  # type: ignore[method-assign]
        with exam, suppress(Enough):
            trainer.fit(method, datamodule=given)


class Sent(Given):
    """A data module whose batches are made up, and sent to a device.

    Args:
        data: the module in question.
        images: number of images of a batch.
        exam: has the device, which need not exist, and begins with the first batch.
        ready: a batch as a method gets it, in place of one that is made ready.
    """

    def __init__(
        self, data: L.LightningDataModule, images: int, exam: Exam, ready: Any = None
    ) -> None:
        super().__init__(data, images, ready)
        self.exam, self.ready = exam, ready is not None

    def transfer_batch_to_device(self, batch: Any, device: torch.device, _: int) -> Any:
        """Send a batch as Lightning does; by the module's own way if any."""
        if self.exam.over:
            self.exam.end()
        self.exam.batches += 1
        there = torch.device(self.exam.device)
        if self.ready or knows(self.inner):

            def sent(leaf: Any) -> Any:
                return leaf.to(there, non_blocking=True) if isinstance(leaf, Tensor) else leaf

            return torch_parts.tree_map(sent, batch)
        return self.inner.transfer_batch_to_device(batch, there, 0)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """The module's own, unless the batch is ready."""
        return batch if self.ready else super().on_after_batch_transfer(batch, dataloader_idx)


class Phases(L.Callback):
    """Tells an exam what runs, and ends the training.

    Args:
        exam: observer to be told.
    """

    def __init__(self, exam: Exam) -> None:
        self.exam = exam

    def on_before_backward(self, *_: Any) -> None:
        """The way back begins."""
        self.exam.phase = BACKWARD

    def on_after_backward(self, *_: Any) -> None:
        """The way back is over."""
        self.exam.phase = FORWARD

    def on_before_optimizer_step(self, *_: Any) -> None:
        """The update begins."""
        self.exam.phase = OPTIMISER

    def on_train_batch_start(self, *_: Any) -> None:
        """The way there begins."""
        self.exam.phase = FORWARD

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """After the last step only the method's own hook is left."""
        self.exam.over = trainer.global_step >= (1 if self.exam.device == "cpu" else 2)

    def on_train_epoch_end(self, *_: Any) -> None:
        """End with an epoch that is over before."""
        self.exam.end()


@contextmanager
def _far(method: nn.Module) -> Iterator[None]:
    """What torch lacks on a device that is not there: generators; gradients appear at once."""

    def backward(*_: Any, **__: Any) -> None:
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.empty_like(parameter)

    def grad(outputs: Any, inputs: Any, *_: Any, **__: Any) -> tuple[Tensor, ...]:
        every = [inputs] if isinstance(inputs, Tensor) else inputs
        return tuple(torch.empty_like(one) for one in every)

    def capability(device: Any = None) -> tuple[int, int]:
        return 8, 0

    def properties(device: Any = None) -> Any:
        return SimpleNamespace(L2_cache_size=CACHE)

    class Generator(torch.Generator):
        """A generator that says that it lies where it is asked to."""

        def __new__(cls, device: Any = "cpu") -> Self:
            made = super().__new__(cls)
            made._said = torch.device(device)
            return made

        _said: torch.device

        @property
        def device(self) -> torch.device:  # type: ignore[override]
            return self._said

    with (
        mock.patch.object(torch, "Generator", Generator),
        mock.patch.object(torch.cuda, "get_device_capability", capability),
        mock.patch.object(torch.cuda, "get_device_properties", properties),
        mock.patch.dict(draws._generators, clear=True),  # noqa: SLF001
        mock.patch.object(torch.Tensor, "backward", backward),
        mock.patch.object(torch.autograd, "backward", backward),
        mock.patch.object(torch.autograd, "grad", grad),
    ):
        yield
