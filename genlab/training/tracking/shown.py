"""Images and tables for a run's folder and for every logger that takes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.loggers import WandbLogger

from genlab import run_files
from genlab.drawing.grid import write
from genlab.drawing.may_fail import may_fail
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.tracking.guarding import log_image


def publish(
    trainer: L.Trainer, name: str, picture: np.ndarray, step: int | None = None, note: str = ""
) -> None:
    """Publish an image (H, W, 3) of bytes in the run's ``pictures/`` and in its loggers.

    A file that cannot be written is reported and ends nothing.

    Args:
        trainer: trainer of the run.
        name: file name without extension.
        picture: the image.
        step: step to put in the file name; None where a run has only one such file.
        note: sentence after the caption.
    """
    folder = Path(trainer.default_root_dir) / "pictures"
    file = folder / f"{name if step is None else f'{name}-{step:08d}'}.png"
    with may_fail(f"{folder.name}/{file.name}"):
        write(picture, file)
    show(trainer, name, picture, step, note)


def show(
    trainer: L.Trainer, name: str, picture: np.ndarray, step: int | None = None, note: str = ""
) -> None:
    """Hand an image, with a caption, to the loggers.

    Args:
        trainer: trainer of the run.
        name: name of its file without step and extension.
        picture: (H, W, 3) bytes.
        step: step that it is of; None where a run has only one such image.
        note: sentence after the caption.
    """
    key, caption = f"pictures/{name}", " ".join(filter(None, (_caption(name, step), note)))
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(key, [picture], caption=[caption])
        else:
            log_image(logger, key, picture, trainer.global_step if step is None else step)


def run_name(trainer: L.Trainer, method: L.LightningModule) -> str:
    """The recipe that a run is of, for titles; the method's class where there is no recipe."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    stamps = (one.stamp for one in callbacks if isinstance(one, Checkpoints))
    return next((str(one["name"]) for one in stamps if "name" in one), type(method).__name__)


def has_tables(trainer: L.Trainer) -> bool:
    """True on every process if a logger of one takes tables."""
    found = any(isinstance(logger, WandbLogger) for logger in trainer.loggers)
    return bool(trainer.strategy.reduce_boolean_decision(found, all=False))


def tabulate(
    trainer: L.Trainer, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Hand a table to W&B; arrays in it, (H, W, 3) bytes, become images.

    Args:
        trainer: trainer of the run.
        key: name of the table.
        columns: names of its columns.
        rows: their values; a table without any is left out.
    """
    for logger in trainer.loggers if rows else []:
        if isinstance(logger, WandbLogger):
            import wandb

            data = [[wandb.Image(v) if isinstance(v, np.ndarray) else v for v in r] for r in rows]
            logger.log_table(key, list(columns), data)


def _caption(name: str, step: int | None) -> str:
    """The step, and what the run's file of this name shows."""
    file = PurePath(f"pictures/{name if step is None else f'{name}-{step:08d}'}.png")
    found = run_files.find(file)
    text = name if found is None or found.name == "pictures/" else found.text
    return text if step is None else f"Step {step:,}. {text}"
