"""Callbacks that trainings of the tests get through their recipes."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import lightning as L


class Slow(L.Callback):
    """Every step takes so long, and costs nothing."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        time.sleep(self.seconds)


class Fail(L.Callback):
    """An error of the program's own, always at the same step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        if trainer.global_step == self.step:
            raise ArithmeticError("this program is wrong")


class SayModules(L.Callback):
    """Prints the names of what is loaded after the first step, and ends the process."""

    def on_train_batch_end(self, *_: Any) -> None:
        print("\n" + json.dumps(sorted(sys.modules)), flush=True)
        os._exit(0)
