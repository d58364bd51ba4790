"""Speed of SimCLR's step on the device: images a second, phases, and how it grows with GPUs."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch

from genlab import augment, methods
from genlab.data.on_device import Finish, finished, moved
from genlab.testing.batches import Loader
from genlab.testing.field.measurement import Measurement, measured, skipped
from genlab.testing.field.place import Place
from genlab.testing.running import quiet_trainer
from genlab.training.profile.steps import Clock, Timeline, instrument

WARM_UP = {True: 2, False: 10}  # steps, by whether the place is small
STEPS = {True: 4, False: 30}


@dataclass(frozen=True)
class Load:
    """A training step.

    Args:
        encoder: name of the encoder.
        kwargs: its arguments.
        side: side of the images in pixels.
        batch: number of images a process.
        gib: memory of an image in a step, generously.
    """

    encoder: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    side: int = 32
    batch: int = 512
    gib: float = 0.0

    def __str__(self) -> str:
        return f"SimCLR {self.encoder}, {self.side} px, {self.batch} images a process"


LOADS = {
    "resnet18_32px": Load("resnet18", {"stem": "cifar", "channels_last": True}, 32, 512, 0.015),
    "resnet50_224px": Load("resnet50", {"channels_last": True}, 224, 128, 0.12),
}
USED = 0.7  # of a GPU's memory, at most
SMALL = Load("small_cnn", {"width": 4}, 8, 16)


def load_of(place: Place, subject: str) -> Load:
    """The step of a subject, its batch halved until it fits; a small one on a CPU."""
    if place.small:
        return SMALL
    load = LOADS[subject]
    room = USED * torch.cuda.get_device_properties(place.device).total_memory / 2**30
    while load.batch * load.gib > room:
        load = replace(load, batch=load.batch // 2)
    return load


def speed(place: Place, subject: str) -> Iterator[Measurement]:
    """Images a second of SimCLR's step, share of each phase in it, and share of the encoder."""
    load = load_of(place, subject)
    with place.side():
        pace = paced(0, 1, load, place.small)
        own = encoder_seconds(place, load)
    note = f"{precision(place.small)}, from bytes on the host to the optimiser's step"
    yield measured(f"{load}", load.batch / pace.seconds, "images/s", note)
    total = sum(pace.phases.values())
    for name, seconds in pace.phases.items():
        if name == "data":  # one batch again and again
            continue
        yield measured(f"{load}, {name}", seconds / total, "share of the step")
    note = "forward and backward of both views alone, over the whole step"
    yield measured(f"{load}, encoder", own / pace.seconds, "share of the step", note)


def scaling(place: Place, subject: str) -> Iterator[Measurement]:
    """Images a second of SimCLR's step on more GPUs, over as many times those of one."""
    worlds = [2] if place.small else [n for n in (2, 4, 8) if n <= place.gpus]
    if not worlds:
        yield skipped(subject, "one GPU")
        return
    load = load_of(place, subject)
    with place.side():
        [one] = place.ranks().run(paced, 1, load, place.small)
        for world in worlds:
            slowest = max(p.seconds for p in place.ranks().run(paced, world, load, place.small))
            name = f"{load}, {world} {'processes' if place.small else 'GPUs'}"
            yield measured(name, one.seconds / slowest, "of linear scaling")


class Pace(L.Callback):
    """Callback that measures steps, and their phases in as many more.

    Args:
        device: device of the work, to be waited for.
        warm_up: number of steps that do not count.
        steps: number of steps that do.
    """

    def __init__(self, device: torch.device, warm_up: int, steps: int) -> None:
        self.device, self.warm_up, self.steps = device, warm_up, steps
        self.done, self.start, self.seconds = 0, 0.0, 0.0
        self.phases: dict[str, float] = {}
        self.timeline = Timeline(Clock(device))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let the parts of a step say which phase they are."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        instrument(self.timeline, trainer, pl_module, data, self)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Begin and end the measured steps, then those of the phases."""
        self.done += 1
        if self.done == self.warm_up:
            self.start = self._now()
        elif self.done == self.warm_up + self.steps:
            self.seconds = (self._now() - self.start) / self.steps
            self.timeline.resume()
        elif self.done == self.warm_up + 2 * self.steps:
            self.timeline.pause()
            found = self.timeline.seconds()
            self.phases = {name: seconds / self.steps for name, seconds in found.items()}

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


@dataclass(frozen=True)
class Paced:
    """The seconds of a step and of its phases."""

    seconds: float
    phases: dict[str, float]


def paced(rank: int, world: int, load: Load, small: bool) -> Paced:
    """The pace of SimCLR on this rank's GPU, in Lightning's fit loop; of several under DDP."""
    device = torch.device("cpu") if small else torch.device("cuda", rank)
    pace = Pace(device, WARM_UP[small], STEPS[small])
    options: dict[str, Any] = {"precision": precision(small)}
    if not small:
        options |= {"accelerator": "gpu", "devices": 1}
    if world > 1:
        options |= {"strategy": "ddp", "devices": world}
    data = Repeated(load, pace.warm_up + 2 * pace.steps)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = quiet_trainer(Path(folder), pace, max_epochs=1, **options)
        trainer.fit(method_of(load), datamodule=data)
    return Paced(pace.seconds, pace.phases)


def precision(small: bool) -> str:
    """The trainer's precision: bf16-mixed where the device has it."""
    return "bf16-mixed" if small or torch.cuda.is_bf16_supported(False) else "16-mixed"


def method_of(load: Load) -> L.LightningModule:
    """SimCLR of a load's encoder."""
    torch.manual_seed(0)
    optimizer = {"name": "torch.sgd", "lr": 0.01, "momentum": 0.9}
    made: Any = methods.SimCLR(
        3, load.side, load.encoder, encoder_kwargs=dict(load.kwargs), optimizer=optimizer
    )
    return made


class Repeated(L.LightningDataModule):
    """One batch of random bytes again and again, which the device turns into views.

    Args:
        load: size of the batch.
        steps: number of batches.
    """

    def __init__(self, load: Load, steps: int) -> None:
        super().__init__()
        shape = (load.batch, 3, load.side, load.side)
        image = torch.randint(0, 256, shape, dtype=torch.uint8)
        self.batch = {
            "image": image,
            "label": torch.zeros(load.batch, dtype=torch.long),
            "index": torch.arange(load.batch),
        }
        self.steps = steps
        self.finish, self.views = Finish(None, None, "none"), augment.views_from("simclr")

    def train_dataloader(self) -> Loader:
        return Loader([self.batch | {"seed": seed} for seed in range(self.steps)])

    def transfer_batch_to_device(self, batch: Any, device: torch.device, *_: Any) -> Any:
        return moved(batch, device)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return finished(batch, self.finish, self.views)


def encoder_seconds(place: Place, load: Load) -> float:
    """Seconds of the encoder's forward and backward of two views, by itself."""
    method: Any = method_of(load)
    encoder = method.encoder.to(place.device)
    views = [torch.rand(load.batch, 3, load.side, load.side).to(place.device) for _ in range(2)]
    dtype = torch.bfloat16 if precision(place.small) == "bf16-mixed" else torch.float16
    start = 0.0
    for k in range(WARM_UP[place.small] + STEPS[place.small]):
        if k == WARM_UP[place.small]:
            place.wait()
            start = time.perf_counter()
        with torch.autocast(place.device.type, dtype):
            total = sum(encoder(view).float().sum() for view in views)
        encoder.zero_grad()
        torch.as_tensor(total).backward()
    place.wait()
    return (time.perf_counter() - start) / STEPS[place.small]
