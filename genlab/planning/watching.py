"""Labels for what is counted: the phase of a step, the part of the method, the owner of memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from genlab.internals import metric_parts, torch_parts
from genlab.planning.counting import BACKWARD, FORWARD, OPTIMISER, Counting
from genlab.planning.step import START, STEP, VALIDATION, Step
from genlab.recipes import Recipe
from genlab.training.engine.before_window import BeforeWindow
from genlab.training.engine.finite import FiniteGuard

BUCKET, FIRST = 25 * 2**20, 2**20  # bytes of DDP's gradients that travel together
BUFFERS = "buffers, as batch norm's statistics"
SIGNALS = "signals to stop, at most"  # see `SafeRequeue`


class Enough(Exception):
    """The end of a training that has been counted."""


class Watch(L.Callback):
    """Tells a `Counting` what runs; its counts are those of the second step.

    A validation's batch follows, of which only memory counts.

    Args:
        count: counter, active during training.
        recipe: recipe with the settings of the real run.
        world: number of its processes.
    """

    def __init__(self, count: Counting, recipe: Recipe, world: int) -> None:
        self.count, self.world = count, world
        self.trainer = recipe.config.get("trainer") or {}
        self.views = _gradients_are_views(self.trainer.get("strategy"))
        self.backwards = self.batches = 0
        self.automatic = True
        self.peaks: dict[str, dict[str, int]] = {}  # bytes by part, of each moment
        self.counted: Step | None = None
        self.notes: list[str] = []
        self.arrived: dict[int, Tensor] = {}  # gradients in the order in which they come
        self.sent: Counter[torch.dtype] = Counter()  # bytes of buffers that DDP sends
        self._steps = 0
        self._parts: list[str] = []

    @contextmanager
    def hooks(self, method: nn.Module) -> Iterator[None]:
        """Follow the method's parts, gradients, metrics and its optimisers' states."""
        count = self.count
        with ExitStack() as stack:
            for handle in (
                *self._part_hooks(method),
                *self._gradient_hooks(method),
                *self._norm_hooks(method),
                register_optimizer_step_post_hook(self._stepped),
            ):
                stack.callback(handle.remove)
            for name, parameter in method.named_parameters():
                copy = "_ema" in name or not parameter.requires_grad
                count.see(parameter, "momentum copies" if copy and "_ema" in name else "parameters")
            for name, buffer in method.named_buffers():
                count.see(buffer, _label_of_buffer(name))
                if name not in torch_parts.ignored_by_ddp(method):
                    self.sent[buffer.dtype] += buffer.nbytes
            count.see_all(metric_parts.memory(method), "metrics")
            yield

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The way there begins."""
        self.count.phase, self.count.part = FORWARD, "loss"
        self.count.callers.clear()
        self.batches += 1
        self.automatic = pl_module.automatic_optimization

    def on_before_backward(
        self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor
    ) -> None:
        """The way back begins."""
        self.count.phase, self.count.part = BACKWARD, "loss"
        self.backwards += 1

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The way back is over."""
        self.count.phase, self.count.part = FORWARD, "loss"

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """The update begins."""
        self.count.phase = OPTIMISER

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """After the first step start anew, after the second end."""
        if trainer.global_step == 1 and self._steps == 0:
            self.count.reset()
            self.backwards = self.batches = 0
        self._steps = trainer.global_step
        if trainer.global_step > 1:
            self.counted = self._count()
            if not trainer.enable_validation:
                raise Enough
            trainer.val_check_batch = 1

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Only the memory of one validation step counts from here.

        Nothing is logged, and no callback looks at the step: its end is the training's.
        """
        self.count.phase, self.count.validating = FORWARD, True
        validate = pl_module.validation_step

        @wraps(validate)
        def once(*args: Any, **kwargs: Any) -> None:
            validate(*args, **kwargs)
            self.peaks[VALIDATION] = dict(self.count.peak)
            raise Enough

        pl_module.log = lambda *_, **__: None  # type: ignore[method-assign]
        pl_module.validation_step = once  # type: ignore[method-assign]
        self.count.reset()

    @contextmanager
    def ended(self) -> Iterator[None]:
        """End quietly; a note stands for a validation that cannot be counted."""
        try:
            yield
        except Enough:
            pass
        except Exception as error:
            if not self.count.validating:
                raise
            said = " ".join(str(error).splitlines()[:2])
            self.notes.append(f"validation is not counted: {said}")

    def step(self, images: int) -> Step:
        """The counts, after training.

        Args:
            images: images of a batch.
        """
        counted = self.counted or self._count()
        if self.world > 1:
            for moment in {STEP, VALIDATION} & self.peaks.keys():
                self._add_buckets(self.peaks[moment])
        memory = self.peaks.pop(STEP)
        return replace(counted, images=images * counted.images, memory=memory,
                       moments=self.peaks, notes=tuple(self.notes))  # fmt: skip

    def _count(self) -> Step:
        """The counts of a step; a batch's images count as one."""
        count, done = self.count, self.count.kernels
        self.peaks[STEP] = dict(count.peak)
        if self.world > 1:
            self._of_ddp()
        return Step(self.world, self.batches, {}, dict(count.flops), count.list_collectives(),
                    done.started, done.moved, done.convolved, tuple(count.reads))  # fmt: skip

    def _add_buckets(self, memory: dict[str, int]) -> None:
        """DDP's memory for gradients, in which they may lie themselves; it stays."""
        size = sum(one.nbytes for one in self.arrived.values())
        size -= memory.get("gradients", 0) if self.views else 0
        if size > 0:
            memory["gradient buckets"] = size

    def _of_ddp(self) -> None:
        """Add what DDP does at each backward pass that it does not put off."""
        size = sum(one.nbytes for one in self.arrived.values())
        times = 1 if self.automatic else self.backwards
        calls = times * _buckets(self.arrived.values())
        self.count.exchange("gradients", "all_reduce", times * size, calls)
        for same in self.sent.values() if self.automatic else ():  # of rank zero to all
            self.count.exchange(BUFFERS, "broadcast", same)
        self.count.exchange(SIGNALS, "all_reduce", 8)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the start's peak, and follow what the guard against NaN keeps.

        What is read once before the first step delays none.
        """
        self.peaks[START] = dict(self.count.peak)
        self.count.reset()
        self.count.reads.clear()
        for one in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(one, FiniteGuard) and one.before is not None:
                self._follow(one.before)

    def _follow(self, before: BeforeWindow) -> None:
        """Label what the guard against NaN keeps as it is made."""
        remember = before.remember

        def remembered() -> None:
            remember()
            self.count.see_all(before.copies(), "guard")

        before.remember = remembered  # type: ignore[method-assign]

    def _stepped(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        states = (tensors(state) for state in optimizer.state.values())
        self.count.see_all((t for state in states for t in state), "optimiser state")
        self.count.phase, self.count.part = FORWARD, "callbacks"

    def _gradient_hooks(self, method: nn.Module) -> Iterator[Any]:
        for parameter in method.parameters():
            if parameter.requires_grad:
                yield parameter.register_post_accumulate_grad_hook(self._accumulated)

    def _accumulated(self, parameter: Tensor) -> None:
        if parameter.grad is not None:
            self.count.see(parameter.grad, "gradients")
            self.arrived.setdefault(id(parameter), parameter)

    def _part_hooks(self, method: nn.Module) -> Iterator[Any]:
        for name, module in method.named_modules():
            part = name.partition(".")[0]
            if part:
                yield module.register_forward_pre_hook(lambda *_, part=part: self._enter(part))
                leaf = not any(True for _ in module.children())
                yield module.register_forward_hook(
                    lambda _, __, out, part=part, leaf=leaf: self._leave(part, out, leaf),
                    always_call=True,
                )

    def _norm_hooks(self, method: nn.Module) -> Iterator[Any]:
        """Follow batch norms with statistics over all ranks, as torch's for GPUs exchange them."""
        if self.world > 1 and self.trainer.get("sync_batchnorm"):
            for module in method.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
                    yield module.register_forward_hook(self._normalised)

    def _normalised(self, norm: Any, _: Any, out: Tensor) -> None:
        """Mean, deviation and count there; the sums of the gradient and its product back."""
        if norm.training:
            floats = 2 * norm.num_features
            self.count.exchange("batch norm", "all_gather", 4 * (floats + 1))
            if out.requires_grad:
                self.count.exchange("batch norm, gradient", "all_reduce", 4 * floats)

    def _enter(self, part: str) -> None:
        self._parts.append(self.count.part)
        self.count.part = part

    def _leave(self, part: str, out: Any, leaf: bool) -> None:
        self.count.part = self._parts.pop()
        for tensor in tensors(out) if leaf else ():
            if tensor.requires_grad:
                tensor.register_hook(lambda _: setattr(self.count, "part", part))


def _gradients_are_views(strategy: Any) -> bool:
    """True if a recipe's strategy lets gradients lie in DDP's buckets."""
    given = strategy.get("init_args") if isinstance(strategy, dict) else None
    return bool((given or {}).get("gradient_as_bucket_view"))


def _buckets(gradients: Iterable[Tensor]) -> int:
    """Number of DDP's messages: gradients of one type fill the first up to its size, and so on."""
    limits: dict[torch.dtype, int] = {}
    full: dict[torch.dtype, int] = {}
    closed = 0
    for one in gradients:
        full[one.dtype] = full.get(one.dtype, 0) + one.nbytes
        if full[one.dtype] >= limits.setdefault(one.dtype, FIRST):
            closed, limits[one.dtype] = closed + 1, BUCKET
            del full[one.dtype]
    return closed + len(full)


def tensors(tree: Any) -> list[Tensor]:
    """All tensors of nested lists, tuples and dictionaries."""
    return [leaf for leaf in torch_parts.tree_leaves(tree) if isinstance(leaf, Tensor)]


def _label_of_buffer(name: str) -> str:
    if "queue" in name:
        return "queue"
    return "momentum copies" if "_ema" in name else "buffers"
