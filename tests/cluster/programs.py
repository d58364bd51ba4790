"""Callbacks that trainings of these tests get through their recipes."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import lightning as L


class Hang(L.Callback):
    """A validation that never ends, in C code, where no handler of Python's runs."""

    def on_validation_batch_start(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        if trainer.sanity_checking:
            return
        Path("hanging").touch()
        lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)
        lock(mutex)
        lock(mutex)
