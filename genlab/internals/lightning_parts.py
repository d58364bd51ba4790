"""Private and undocumented parts of Lightning: trainers, callbacks, hyper-parameters."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import lightning as L
    import torch
    from lightning.pytorch.callbacks import EarlyStopping
    from lightning.pytorch.loggers import Logger
    from lightning.pytorch.profilers import Profiler

T = TypeVar("T")
INSTANTIATOR = "lightning.pytorch.cli.instantiate_module"  # for CLASS.load_from_checkpoint


def trainer_of(method: L.LightningModule) -> Any:
    """A method's trainer, or None; ``LightningModule.trainer`` raises where there is none."""
    try:
        return method.trainer
    except RuntimeError:
        return None


def set_loggers(trainer: L.Trainer, loggers: list[Logger]) -> None:
    """Give a trainer its loggers late, when the run directory is known.

    ``Trainer(logger=...)`` is documented, the setter is not.
    """
    trainer.loggers = loggers


def set_profiler(trainer: L.Trainer, profiler: Profiler) -> None:
    """Give a trainer that is built another profiler: an attribute, no setting."""
    trainer.profiler = profiler  # type: ignore[attr-defined]


def add_first(trainer: L.Trainer, callback: L.Callback) -> None:
    """Add a callback before all others, of a trainer that is built.

    A data module needs its callback, and a recipe need not name it.
    """
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    callbacks.insert(0, callback)


def add_before(trainer: L.Trainer, callback: L.Callback, other: L.Callback) -> None:
    """Add a callback before another one, of a trainer that is built."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    callbacks.insert(callbacks.index(other), callback)


def drop_hook(callback: L.Callback, name: str) -> None:
    """Let Lightning skip a hook of a callback: it calls only what is ``callable()``."""
    setattr(callback, name, None)


def stop_after_validations(stopper: EarlyStopping) -> None:
    """Let early stopping look at a validation's metric when there is one.

    By default it looks at the end of the epoch, also of one that max_steps ends before its
    validation, and fails.
    """
    if (stopper.monitor or "").startswith("val/") and stopper._check_on_train_epoch_end is None:
        stopper._check_on_train_epoch_end = False


def hook_of_callback(error: BaseException) -> tuple[str, L.Callback] | None:
    """The hook of a callback, and the callback, in which an error was raised; None elsewhere."""
    place = error.__traceback__
    while place is not None:
        if place.tb_frame.f_code.co_name == "_call_callback_hooks":
            names = place.tb_frame.f_locals
            return str(names["hook_name"]), names["callback"]
        place = place.tb_next
    return None


def was_interrupted(trainer: L.Trainer) -> bool:
    """True if Lightning has ended a fit at a KeyboardInterrupt; set by its ``call`` module."""
    return bool(trainer.interrupted)


def take_class_path(arguments: dict[str, Any]) -> str | None:
    """Take the class that LightningCLI writes among a method's hyper-parameters out of them."""
    arguments.pop("_instantiator", None)
    return arguments.pop("_class_path", None)


def constructing(arguments: dict[str, Any]) -> AbstractContextManager[None]:
    """Arguments that ``save_hyperparameters`` keeps, with the class, of what is built meanwhile.

    Lightning's own command line does so (``_given_hyperparameters_context``, 2.6.0 to 2.6.6):
    ``CLASS.load_from_checkpoint`` then finds the class and the recipe's plain values. A Lightning
    without it keeps the constructor's arguments, which are the same but for objects.

    Args:
        arguments: names and plain values, ``_class_path`` among them.
    """
    from lightning.pytorch.core.mixins import hparams_mixin

    given = getattr(hparams_mixin, "_given_hyperparameters_context", None)
    return nullcontext() if given is None else given(arguments, INSTANTIATOR)


def outside_cli(function: Callable[..., T], *args: Any) -> T:
    """Call a function that builds a method while LightningCLI constructs another.

    LightningCLI keeps the hyper-parameters of what it constructs in a context variable, and every
    method built meanwhile takes them for its own: here the context is empty.
    """
    return contextvars.Context().run(function, *args)


def global_seed() -> int:
    """The seed that ``seed_everything`` has left in the environment; 0 without."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))


@contextmanager
def on_device(trainer: L.Trainer, device: torch.device) -> Iterator[None]:
    """Let a trainer of the CPU say that it trains on a device, which need not exist."""
    from unittest import mock

    def nothing(device: torch.device) -> None:
        """Set nothing up; a mock's own answer would keep what it was asked about."""

    strategy: Any = trainer.strategy
    with (
        mock.patch.object(type(strategy), "root_device", property(lambda _: device)),
        mock.patch.object(strategy.accelerator, "setup_device", nothing),
    ):
        yield
