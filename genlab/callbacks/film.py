"""Film of training: samples from the same noise at regular steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import WandbLogger
from PIL import Image

from genlab.contracts import Samples, data_of, number_of_classes
from genlab.drawing.grid import class_rows, grid, write
from genlab.drawing.lettering import class_names, lettered
from genlab.drawing.may_fail import may_fail
from genlab.drawing.points import is_plane
from genlab.files import rewriting
from genlab.networks.modes import still

FORMATS = (".gif", ".webp", ".png")
LAST = 2000  # milliseconds that the last frame stays


class Film(L.Callback):
    """Sample grids at regular optimiser steps, joined into an animated file at the end.

    The frames are kept as PNG in the run's ``pictures/film/``, so that a run that was stopped and
    continued has one film. A frame names its step and, of a method with classes, the class of each
    row. For methods with ``sample``; ignored for others.

    Args:
        every_n_steps: optimiser steps between two frames (of the generator where there are two);
            the first is the untrained method's.
        count: approximate number of images in a frame.
        file: name of the file; .gif, .webp, or .png for an animated PNG.
        seconds: length of the film, without the last frame, which stays for two seconds.

    Raises:
        ValueError: an argument out of range, or another kind of file.
    """

    def __init__(
        self,
        every_n_steps: int = 100,
        count: int = 64,
        file: str = "film.gif",
        seconds: float = 6.0,
    ) -> None:
        if every_n_steps < 1 or count < 1 or seconds <= 0:
            raise ValueError(
                f"every_n_steps {every_n_steps}, count {count}, seconds {seconds}: > 0"
            )
        if Path(file).suffix not in FORMATS:
            raise ValueError(f"file {file!r} must end in one of {', '.join(FORMATS)}")
        self.every_n_steps, self.count, self.file = every_n_steps, count, file
        self.seconds = seconds
        self._step = -1

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step % self.every_n_steps == 0:  # where a run goes on is no frame
            self._shoot(trainer, pl_module)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.global_step != self._step and trainer.global_step % self.every_n_steps == 0:
            self._shoot(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step != self._step:
            self._shoot(trainer, pl_module)
        folder = self._folder(trainer)
        frames = [f for f in sorted(folder.glob("*.png")) if int(f.stem) <= trainer.global_step]
        if not trainer.is_global_zero or not frames:
            return
        with may_fail(f"pictures/{self.file}"):
            target = assemble(frames, folder.parent / self.file, self.seconds)
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger) and target.suffix == ".gif":
                    logger.log_video("pictures/film", [str(target)], format=["gif"])

    def _shoot(self, trainer: L.Trainer, method: L.LightningModule) -> None:
        self._step = trainer.global_step
        if not trainer.is_global_zero or not isinstance(method, Samples):
            return
        with still(method):
            images, columns = class_rows(method, self.count)
        classes = number_of_classes(method)
        file = self._folder(trainer) / f"{trainer.global_step:08d}.png"
        with may_fail(f"pictures/film/{file.name}"):
            names = class_names(getattr(data_of(trainer), "classes", None), classes)
            rows = [] if is_plane(images) else names
            title = f"step {trainer.global_step:,}"  # of one line, in frames of one size
            write(lettered(grid(images, columns), title, rows), file)

    def _folder(self, trainer: L.Trainer) -> Path:
        return Path(trainer.default_root_dir) / "pictures" / "film"


def assemble(frames: list[Path], target: Path, seconds: float) -> Path:
    """Join images of one size, in order, into one animated file that repeats for ever."""
    each = min(500, max(20, round(1000 * seconds / len(frames))))  # milliseconds
    first, *rest = (Image.open(file).convert("RGB") for file in frames)
    durations = [each] * len(rest) + [LAST]
    kind = Image.registered_extensions()[target.suffix]
    with rewriting(target) as opened:
        first.save(opened, kind, save_all=True, append_images=rest, duration=durations, loop=0)
    return target
