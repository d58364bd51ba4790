"""Building of data, then model, then trainer from a resolved recipe, each once."""

from __future__ import annotations

import inspect
import logging
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import yaml
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.plugins.environments import ClusterEnvironment
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from genlab import process
from genlab.checkpoints import AtomicCheckpointIO
from genlab.cluster import launch
from genlab.errors import CheckpointError, RecipeError, first_line
from genlab.internals import lightning_parts, messages
from genlab.metrics.step_metrics import StepMetrics
from genlab.optim import StepPlan, check
from genlab.recipes import (
    TOP_KEYS,
    Recipe,
    load_class,
    load_named,
    trusting,
    without_credentials,
)
from genlab.training import changed_encoder, file_head, sources
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.early_stops import EarlyStops
from genlab.training.engine.epoch_metrics import EpochMetrics
from genlab.training.engine.finite import FiniteGuard
from genlab.training.engine.links import Links
from genlab.training.engine.peers import Peers
from genlab.training.engine.progress import ProgressReport
from genlab.training.engine.reseed import Reseed
from genlab.training.engine.safe_requeue import SafeRequeue
from genlab.training.engine.sync_batch_norm import SyncBatchNorm
from genlab.training.engine.trimming import ask_for_gpus_once, lean
from genlab.training.parsing import Arguments, parameters, parse, plain
from genlab.training.refusals import GROUPS, check_groups, place, place_of, require_device
from genlab.training.tracking import other_loggers
from genlab.training.tracking.settings import Tracking

FROM_DATA = ("channels", "num_classes", "image_size")  # filled in where the recipe is silent
CONDITIONS = ("conditional", "class_conditional", "condition")  # without them labels are not read
DEMOS = "lightning.pytorch.demos."
BASES: dict[str, type] = {  # of the classes that a trainer's settings name
    "callbacks": L.Callback,
    "profiler": Profiler,
    "strategy": Strategy,
    "accelerator": Accelerator,
    "plugins": object,
}
REFUSED = (ValueError, TypeError, RuntimeError, ImportError, MemoryError, MisconfigurationException)
Kind = TypeVar("Kind", L.LightningModule, L.LightningDataModule)


@dataclass
class Lab:
    """The objects of a recipe."""

    recipe: Recipe
    config: dict[str, Any]
    model: L.LightningModule
    data: L.LightningDataModule
    trainer: L.Trainer
    checkpoints: Checkpoints
    tracking: Tracking
    parents: dict[str, Any] = field(default_factory=dict)  # of a run that is opened
    patches: dict[str, bytes] = field(default_factory=dict)  # see `provenance.code`


@trusting
@process.notes_held()
def build(recipe: Recipe, run: Path) -> Lab:
    """Data, model and trainer of a recipe; nothing is written.

    Args:
        recipe: resolved and pre-checked.
        run: directory of the run.

    Raises:
        RecipeError: an unknown key, a wrong type or value; names the key, its file and a way out.
    """
    _quieten()
    ask_for_gpus_once()
    check_groups(recipe)
    _load_named(recipe)
    others = other_loggers.plan(recipe, run)
    settings = _settings(recipe)
    data_class = _class_of("data", L.LightningDataModule, recipe)
    model_class = _class_of("model", L.LightningModule, recipe)
    class_names = file_head.take_classes(recipe)
    given = parse(data_class, "data", recipe.arguments("data"), recipe)
    process.collect_as_usual()  # modules are loaded
    _seed(recipe)
    with _refusals(recipe, data_class):
        data = _make(data_class, given)
        _fill_from_data(recipe, model_class, data)
        sources.pin(recipe)
        changed_encoder.drop_surplus(recipe)
    taken = parse(model_class, "model", recipe.arguments("model"), recipe)
    _seed(recipe)
    with _refusals(recipe, model_class):
        model = _make(model_class, taken)
        checkpoints = Checkpoints(**settings["checkpoint"].made())
        tracking = Tracking(**settings["track"].made())
        tracking.planned = others
        trainer = _trainer(settings["trainer"], checkpoints, tracking, run)
        check(model.hparams.get("optimizer"), model, trainer)
    file_head.say(recipe, model, class_names)
    config = merged_config(recipe, given, taken)
    return Lab(recipe, config, model, data, trainer, checkpoints, tracking)


def _settings(recipe: Recipe) -> dict[str, Arguments]:
    """The checked settings of trainer, checkpoints and tracking."""
    return {
        group: parse(kind, group, recipe.config.get(group) or {}, recipe)
        for group, kind in GROUPS.items()
    }


def _load_named(recipe: Recipe) -> None:
    """Load the classes that the settings name by their bases, before a parser imports any."""
    trainer = recipe.config.get("trainer") or {}
    for key, value in trainer.items():
        root = BASES.get(key, object)
        try:
            load_named(value, root)
            for item in _listed(value) if key in BASES else []:
                if isinstance(item, str) and "." in item:
                    load_class(item, root)
        except RecipeError as error:
            raise RecipeError(f"trainer.{key}: {error}") from error
    for group in ("model", "data"):
        load_named(recipe.arguments(group))


def _class_of(group: str, root: type[Kind], recipe: Recipe) -> type[Kind]:
    """The class that a recipe names for its model or its data."""
    try:
        found = load_class(str(recipe.config[group]["class_path"]), root)
        if found.__module__.startswith(DEMOS):
            raise RecipeError(f"{found.__name__} is a demo of Lightning's, without images")
        return found
    except RecipeError as error:
        if "\n" in str(error):  # it says a place or a way out already
            raise
        raise RecipeError(str(error), f"{recipe.origin(f'{group}.class_path')}, {group}") from error


def _make(kind: type[Kind], arguments: Arguments) -> Kind:
    """An object whose hyper-parameters are the recipe's plain values, for a checkpoint."""
    own = {"_class_path": f"{kind.__module__}.{kind.__qualname__}"} | arguments.plain
    with lightning_parts.constructing(without_credentials(own)):
        return kind(**arguments.made())


def _seed(recipe: Recipe) -> None:
    """Seed all generators as the recipe says: data and model draw independently of each other."""
    seed = recipe.config.setdefault("seed_everything", 0)
    if not isinstance(seed, int):  # a bool is one too: false leaves them as they are
        where = f"{recipe.origin('seed_everything')}, seed_everything"
        raise RecipeError(f"seed_everything must be int or bool, not {seed!r}", where)
    if not 0 <= seed < 2**32:
        where = f"{recipe.origin('seed_everything')}, seed_everything"
        raise RecipeError(f"seed_everything must be from 0 to 4294967295, not {seed}", where)
    if seed is not False:
        chosen = L.seed_everything(None if seed is True else seed, workers=True, verbose=False)
        recipe.config["seed_everything"] = chosen


def _trainer(
    settings: Arguments,
    checkpoints: Checkpoints,
    tracking: Tracking,
    run: Path,
) -> L.Trainer:
    """The trainer, writing atomically into the run directory, its loggers still to come."""
    given = settings.made()
    guard = FiniteGuard(tracking.nonfinite, tracking.nonfinite_limit)
    links = [Links(tracking.links, *tracking.room)] if tracking.links else []
    checkpoints.after_selection = [link.after_selection for link in links]
    plugins = _listed(given.get("plugins"))
    if given.get("sync_batchnorm"):
        plugins.append(SyncBatchNorm())
    if not any(isinstance(plugin, ClusterEnvironment) for plugin in plugins):
        plugins += launch.plugins()
    watching = [Peers(), Reseed(), StepPlan(), StepMetrics(), EpochMetrics(), ProgressReport()]
    given |= {
        "callbacks": [*_listed(given.get("callbacks")), guard, checkpoints, *watching, *links],
        "plugins": [*plugins, AtomicCheckpointIO()],
        "default_root_dir": str(run),
        "logger": False,
    }
    require_device(given.get("accelerator"))
    trainer = L.Trainer(**given)
    many_cpus = trainer.world_size > 1 and trainer.strategy.root_device.type == "cpu"
    if many_cpus and given.get("sync_batchnorm"):
        raise ValueError("trainer.sync_batchnorm requires GPUs: set it to false on CPUs")
    for stopper in trainer.early_stopping_callbacks:
        lightning_parts.stop_after_validations(stopper)
    all_callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    all_callbacks.append(EarlyStops(trainer.early_stopping_callbacks))
    all_callbacks.append(SafeRequeue(checkpoints))  # last: others have seen the batch
    lean(trainer)
    return trainer


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


@contextmanager
def _refusals(recipe: Recipe, kind: type) -> Iterator[None]:
    """Turn a constructor's refusal into an input error; a bug in the user's class stays a bug."""
    try:
        yield
    except RecipeError:
        raise
    except CheckpointError as error:
        raise RecipeError(str(error)) from None
    except REFUSED as error:
        at = traceback.extract_tb(error.__traceback__)[-1].filename
        foreign = not kind.__module__.startswith("genlab.") and at == inspect.getsourcefile(kind)
        if foreign and isinstance(error, TypeError | RuntimeError):
            raise
        inner = messages.union_reason(error)
        what = inner or first_line(error)
        where = place(recipe, "trainer", "callbacks") if inner else place_of(what, recipe)
        raise RecipeError(what, where) from error


def _quieten() -> None:
    """Suppress Lightning's device lists, advertisements and hints about intended settings."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        r".*isinstance\(treespec, LeafSpec\)",
        "The number of training batches",
        "Total length of `list` across ranks is zero",  # data.val_size=0
        ".*does not have many workers",
        "The `srun` command is available",
        ".*in the `DataLoader` in mid-epoch",
        "Starting from v1.9.0",
        "Grad strides do not match bucket view strides",
        r"Found \d+ module\(s\) in eval mode",  # as momentum copies and frozen encoders are
    ):
        warnings.filterwarnings("ignore", message=message)


def _fill_from_data(recipe: Recipe, model: type, data: L.LightningDataModule) -> None:
    """Give the model the data's channels, classes and size where the recipe does not."""
    given, takes = recipe.config["model"].setdefault("init_args", {}), parameters(model)
    reads = all(given.get(key, takes[key].default) for key in CONDITIONS if key in takes)
    for name in (name for name in FROM_DATA if name in takes):
        value = getattr(data, name, None)
        asks = name == "num_classes" and reads and takes[name].default and not given.get(name)
        if asks and value == 0:
            source = recipe.arguments("data")
            where = source.get("table") or source.get("root", "the data")
            what = "class folders" if hasattr(data, "unlabeled") else "labels"
            what = f"{model.__name__} needs labels, and {where} has no {what}"
            raise RecipeError(what, recipe.origin("model.class_path"))
        if value is None or given.setdefault(name, value) == value:
            continue
        if name != "num_classes" or (isinstance(given[name], int) and given[name] < value):
            what = f"model.{name} is {given[name]!r}, the data's is {value}"
            raise RecipeError(what, place(recipe, "model", name))


def merged_config(recipe: Recipe, data: Arguments, model: Arguments) -> dict[str, Any]:
    """The recipe's own keys, and every argument of model and data spelt out with its value."""
    config = {key: recipe.config[key] for key in TOP_KEYS if key in recipe.config}
    for arguments in (model, data):
        path = recipe.config[arguments.group]["class_path"]
        config[arguments.group] = {"class_path": path, "init_args": arguments.plain}
    return dict(without_credentials(plain(config)))


def all_settings(lab: Lab) -> str:
    """Every setting with its value, defaults included, as YAML."""
    return yaml.safe_dump(plain(lab.config), sort_keys=False, width=100)
