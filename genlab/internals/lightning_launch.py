"""Private parts of Lightning: the launcher of a process for each device of this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import lightning as L


def watch_children(trainer: L.Trainer, ended: Callable[[int, int], None]) -> None:
    """Call ``ended(rank, exit code)`` for every process of the trainer's that ends in an error.

    Lightning's own watch then kills this process too, and says nothing. Without effect where
    torchrun or srun starts the processes.

    Args:
        trainer: has not started any yet.
        ended: called in a thread of its own; a negative code is a signal's number.
    """
    from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

    launcher: Any = trainer.strategy.launcher
    if type(launcher) is _SubprocessScriptLauncher:
        vars(launcher)["launch"] = _Launch(launcher, ended)


class _Launch:
    """``_SubprocessScriptLauncher.launch`` with another watch."""

    def __init__(self, launcher: Any, ended: Callable[[int, int], None]) -> None:
        self.launcher, self.ended = launcher, ended

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        from lightning.fabric.utilities.distributed import _set_num_threads_if_needed

        kwargs.pop("trainer", None)
        launcher, environment = self.launcher, self.launcher.cluster_environment
        count = launcher.num_processes
        environment.validate_settings(num_devices=count, num_nodes=launcher.num_nodes)
        if not environment.creates_processes_externally:
            launcher._call_children_scripts()
            threading.Thread(target=self._watch, args=(list(launcher.procs),), daemon=True).start()
        _set_num_threads_if_needed(num_processes=count)
        return function(*args, **kwargs)

    def _watch(self, children: list[Any]) -> None:
        first = self.launcher.cluster_environment.node_rank() * self.launcher.num_processes
        left = dict(enumerate(children, first + 1))
        while left:
            for rank in [rank for rank, child in left.items() if child.poll() is not None]:
                if code := left.pop(rank).returncode:
                    self.ended(rank, code)
            time.sleep(0.5)


def end_children(trainer: L.Trainer, patience: float = 0) -> None:
    """Wait for the processes that the trainer has started on this machine; kill those that stay.

    Args:
        trainer: it may have started none.
        patience: seconds to wait for all of them.
    """
    end = time.monotonic() + patience
    for child in getattr(trainer.strategy.launcher, "procs", ()):
        while child.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        child.kill()  # nothing happens to one that has ended


def timeout(trainer: L.Trainer) -> timedelta | None:
    """The limit of a trainer's process group: ``DDPStrategy(timeout=...)``; None without one."""
    found: timedelta | None = getattr(trainer.strategy, "_timeout", None)
    return found
