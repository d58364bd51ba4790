"""A recipe's training at full size without values: what a step costs, counted in seconds."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from torch._subclasses.fake_tensor import FakeTensorMode

from genlab import distributed
from genlab.data.sampling import check_share
from genlab.errors import InputError, RecipeError, first_line
from genlab.internals import torch_parts
from genlab.planning import inner, reads, watching
from genlab.planning.autocast import AsOnCuda
from genlab.planning.banks import Whole
from genlab.planning.batches import SMALL, Endless, Given, eval_batch, eval_share, knows
from genlab.planning.counting import Counting
from genlab.planning.length import training_images, validation_images
from genlab.planning.step import Step
from genlab.planning.valueless import answered, classes_assumed, without_values
from genlab.recipes import Recipe
from genlab.training.building import Lab, build
from genlab.training.engine.finite import FiniteGuard
from genlab.training.refusals import place_of

ALONE: dict[str, Any] = {  # one process on the CPU, which leaves nothing behind
    "accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto",
    "sync_batchnorm": False, "limit_val_batches": 1, "num_sanity_val_steps": 0,
    "val_check_interval": 1.0, "check_val_every_n_epoch": 1,
    "log_every_n_steps": 10**6, "enable_progress_bar": False, "profiler": None,
    "enable_model_summary": False, "benchmark": False, "deterministic": False,
}  # fmt: skip
SEEN_OFF = ("Checkpoints", "Film", "ViewPictures", "ProgressReport", "Links", "SafeRequeue")


def fake_step(
    recipe: Recipe, world: int = 1, images: int | None = None, *, validate: bool = True
) -> Step:
    """Cost of an optimiser step of a recipe on one of ``world`` devices, the second of a training.

    The recipe's own trainer, optimiser, precision and callbacks take two steps with tensors that
    have shapes and no values. Tensors stand for those of a device; no data are read.

    Args:
        recipe: resolved; ``data.batch_size`` is the global batch.
        world: number of processes.
        images: number of training images, for banks of their features; None for what is known.
        validate: False to leave out the memory of validation.

    Raises:
        InputError: a recipe that does not build, or whose batch cannot be divided.
    """
    with tempfile.TemporaryDirectory() as folder, quiet(), classes_assumed():
        single = alone(recipe)
        if not validate:
            single.config["trainer"]["limit_val_batches"] = 0
        inner.untrained(single, Path(folder))
        lab = build(single, Path(folder))
        with refused(recipe):
            return _counted(lab, recipe, world, images)


@contextmanager
def refused(recipe: Recipe) -> Iterator[None]:
    """Turn what a method refuses in its step into an input error, as ``fit`` does."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        what = first_line(error)
        raise RecipeError(what, place_of(what, recipe)) from error


@contextmanager
def as_on_cuda() -> Iterator[None]:
    """Autocast and optimisers do with a CPU's tensors what they do with a GPU's."""
    with AsOnCuda(), torch_parts.foreach_everywhere():
        yield


def alone(recipe: Recipe) -> Recipe:
    """The recipe for one process on a CPU, which writes nothing and takes nobody's weights."""
    single = copy.deepcopy(recipe)
    trainer = single.config.setdefault("trainer", {})
    trainer |= ALONE | ({"limit_val_batches": 0} if trainer.get("limit_val_batches") == 0 else {})
    for key in ("max_time", "min_steps", "min_epochs", "limit_train_batches", "overfit_batches"):
        trainer.pop(key, None)
    single.config["track"] = {"wandb": "off"}
    arguments = single.config["model"].setdefault("init_args", {})
    if arguments.get("pretrained") and arguments.get("encoder"):
        arguments["pretrained"] = False  # weights of the same size as fresh ones
    if recipe.config["model"]["class_path"].endswith(".VQPrior"):
        arguments["cache_codes"] = False  # the first epoch, which encodes
    return single


def _counted(lab: Lab, recipe: Recipe, world: int, known: int | None) -> Step:
    """Two steps of a training that is built; the second is counted."""
    images = share(lab.data, world, lab.trainer.accumulate_grad_batches)
    count, mode = Counting(world), FakeTensorMode(allow_non_fake_inputs=True)
    without_values(lab.model, mode)
    lab.model.cpu = lab.model.to = lambda *_, **__: lab.model  # type: ignore[method-assign]
    watch = watching.Watch(count, recipe, world)
    leave_out(lab.trainer, watch)

    def asked() -> int | None:
        return training_images(recipe)[0] if known is None else known

    data = Counted(lab.data, images, count, asked)
    data.held_out = lambda: validation_images(recipe, asked())
    bank, notes = Whole(lambda: data.whole, count), list(left_out(lab))
    if not data.validates:  # Lightning skips it then, and only its end would end the training
        lab.trainer.limit_val_batches = 0
    with (
        distributed.pretended(world),
        answered(bank),
        as_on_cuda(),
        mode,
        watch.hooks(lab.model),
        count,
        reads.explained(count.reads),
        watch.ended(),
    ):
        lab.trainer.fit(lab.model, datamodule=data)
    step = watch.step(data.taken)
    return replace(step, notes=(*step.notes, *bank.notes, *notes))


def left_out(lab: Lab) -> Iterator[str]:
    """Sentences on what of a training is not in its fake step."""
    if not knows(lab.data) and lab.trainer.limit_val_batches:
        yield f"validation is not counted: its batches are those of {type(lab.data).__name__}"
    if (lab.recipe.arguments("model").get("encoder_kwargs") or {}).get("compile"):
        yield "encoder_kwargs.compile is not counted: the encoder is planned as without it"


def share(data: Any, world: int, parts: int = 1) -> int:
    """Images of a batch on one device.

    Raises:
        RecipeError: the data module has no batch size.
        ValueError: it cannot be divided so.
    """
    if not isinstance(size := getattr(data, "batch_size", None), int):
        raise RecipeError(f"{type(data).__name__} has no batch_size, the images of a step")
    check_share(size, world, parts)
    return size // (world * parts)


class Counted(Given):
    """A data module whose batches are counted.

    Args:
        data: the module in question; it makes batches ready.
        images: number of images of a batch.
        count: counter of the batch's memory.
        known: function for the number of training images; None where nobody knows it.
    """

    def __init__(
        self,
        data: L.LightningDataModule,
        images: int,
        count: Counting,
        known: Callable[[], int | None] = lambda: None,
    ) -> None:
        super().__init__(data, images)
        self.count, self.known, self.held_out = count, known, known
        self.whole: int | None = None  # images of the set that a batch is of

    def make(self) -> Any:
        """A batch of bytes, counted."""
        raw = super().make()
        self.count.see_all(watching.tensors(raw), "batch")
        return raw

    def splits(self) -> dict[str, np.ndarray]:
        """Positions of the training images: as many as are known, or as small sets have."""
        return {"train": np.arange(self.known() or SMALL)}

    def bank_dataloader(self, *_: Any, **__: Any) -> Endless:
        """A batch without values, as large as those of evaluation."""
        return Endless(self.make_for_bank, 1)

    def val_dataloader(self) -> Any:
        """A batch of validation, if any."""
        return Endless(self.make_for_validation, 1) if self.validates else []

    @property
    def validates(self) -> bool:
        """False where no image is held out, and of data that plans do not know."""
        return knows(self.inner) and self.held_out() != 0

    def make_for_bank(self) -> Any:
        """A batch of bytes as evaluation reads them, counted."""
        self.whole = self.known()
        return self._for_eval(self.whole) if knows(self.inner) else self.make()

    def make_for_validation(self) -> Any:
        """A batch of bytes as validation reads them, counted."""
        return self._for_eval(self.held_out())

    def _for_eval(self, images: int | None) -> Any:
        inner: Any = self.inner
        self.whole = images
        share = eval_share(images, inner.eval_batch_size, distributed.world_size())
        raw = eval_batch(inner, share)
        self.count.see_all(watching.tensors(raw), "batch")
        return raw

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """The module's own."""
        self.count.part = "views"
        ready = self.inner.on_after_batch_transfer(batch, dataloader_idx)
        self.count.see_all(watching.tensors(ready), "batch")
        return ready


def leave_out(trainer: L.Trainer, watch: L.Callback) -> None:
    """Callbacks of training alone, with one that watches; the guard as it is on a GPU."""
    every: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    every[:] = [c for c in every if type(c).__name__ not in SEEN_OFF] + [watch]
    for one in every:
        if isinstance(one, FiniteGuard) and one.nonfinite == "stop":
            one.late = True


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
