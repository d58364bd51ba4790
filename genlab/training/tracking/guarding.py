"""Calls of loggers that are not genlab's: what fails in them never ends a training."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from lightning.pytorch.loggers import CometLogger, Logger, MLFlowLogger, TensorBoardLogger

from genlab.training.tracking.wandb_run import reason, say


def never_fatal(logger: Logger, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose first failure ends a logger's part, never the training."""

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if getattr(logger, "lost", ""):
            return None
        try:
            return function(*args, **kwargs)
        except (Exception, SystemExit) as error:  # a server, a full disk, the user's class
            logger.lost = reason(error)  # type: ignore[attr-defined]
            say(f"{type(logger).__name__} is lost ({reason(error)}); metrics.csv goes on")
        return None

    return guarded


def log_image(logger: Logger, key: str, picture: np.ndarray, step: int) -> None:
    """Hand an image (H, W, 3) of bytes to a logger in its own way, where it has one.

    Args:
        logger: the logger.
        key: name of the image.
        picture: the image.
        step: optimiser steps done; the last of them, from 0, is the row of metrics.
    """
    never_fatal(logger, _log_image)(logger, key, picture, step)


def _log_image(logger: Logger, key: str, picture: np.ndarray, step: int) -> None:
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(key, picture, max(0, step - 1), dataformats="HWC")
    elif isinstance(logger, MLFlowLogger):
        file = f"{key}-{step:08d}.png"
        logger.experiment.log_image(logger.run_id, picture, artifact_file=file)
    elif isinstance(logger, CometLogger):
        logger.experiment.log_image(picture, name=key, step=max(0, step - 1))
