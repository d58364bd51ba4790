"""From a resolved recipe to model, data and trainer, through LightningCLI."""

from __future__ import annotations

import argparse
import copy
import inspect
import itertools
import logging
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from lightning.pytorch import callbacks as lightning_callbacks
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins.environments import ClusterEnvironment
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from genlab.checkpoints import AtomicCheckpointIO
from genlab.cluster import launch
from genlab.errors import InputError, RecipeError, nearest
from genlab.optim import check
from genlab.recipes import TOP_KEYS, Recipe, classes, load_class
from genlab.training import sources
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.memory import keep_freed_memory
from genlab.training.engine.progress import ProgressReport
from genlab.training.engine.reseed import Reseed
from genlab.training.engine.safe_requeue import SafeRequeue
from genlab.training.engine.step_metrics import StepMetrics
from genlab.training.engine.sync_batch_norm import SyncBatchNorm
from genlab.training.engine.trimming import ask_for_gpus_once, lean
from genlab.training.tracking.settings import Tracking

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed", "32", "16", "bf16")
FROM_DATA = ("channels", "num_classes", "image_size")  # filled in where the recipe is silent


@dataclass
class Lab:
    """A recipe brought to life."""

    recipe: Recipe
    config: dict[str, Any]
    model: L.LightningModule
    data: L.LightningDataModule
    trainer: L.Trainer
    checkpoints: Checkpoints
    tracking: Tracking


class RecipeCLI(LightningCLI):
    """LightningCLI in subclass mode, fed with a resolved recipe instead of command-line words."""

    def __init__(self, recipe: Recipe, run: Path) -> None:
        self.recipe, self.run = recipe, run
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
            super().__init__(
                L.LightningModule,
                L.LightningDataModule,
                save_config_callback=None,
                trainer_defaults={"callbacks": [Reseed(), StepMetrics(), ProgressReport()]},
                seed_everything_default=0,
                parser_kwargs={"exit_on_error": False},
                subclass_mode_model=True,
                subclass_mode_data=True,
                args=copy.deepcopy(recipe.config),  # parsing changes what it is given
                run=False,
                auto_configure_optimizers=False,
            )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The groups beside model, data and trainer."""
        parser.add_lightning_class_args(Checkpoints, "checkpoint")
        parser.add_class_arguments(Tracking, "track")

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """The trainer, writing atomically into the run directory, its loggers still to come."""
        plugins = self.config_init.trainer.get("plugins") or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        if self.config_init.trainer.get("sync_batchnorm"):
            plugins = [*plugins, SyncBatchNorm()]
        if not any(isinstance(plugin, ClusterEnvironment) for plugin in plugins):
            plugins = [*plugins, *launch.plugins()]
        trainer = super().instantiate_trainer(
            default_root_dir=str(self.run), plugins=[*plugins, AtomicCheckpointIO()], logger=False
        )
        many_cpus = trainer.world_size > 1 and trainer.strategy.root_device.type == "cpu"
        if many_cpus and self.config_init.trainer.get("sync_batchnorm"):
            raise ValueError("trainer.sync_batchnorm is for GPUs: set it to false on CPUs")
        callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        checkpoints = next(c for c in callbacks if isinstance(c, Checkpoints))
        callbacks.append(SafeRequeue(checkpoints))  # last: others have seen the batch
        lean(trainer)
        return trainer


def build(recipe: Recipe, run: Path) -> Lab:
    """Model, data and trainer of a recipe; nothing is written.

    Args:
        recipe: resolved and pre-checked.
        run: the directory that the run is going to use.

    Raises:
        RecipeError: an unknown key, a wrong type or value; names the key, its file and a way out.
    """
    _quieten()
    ask_for_gpus_once()
    keep_freed_memory()
    _check_groups(recipe)
    _fill_from_data(recipe)
    sources.pin(recipe)
    try:
        cli = RecipeCLI(recipe, run)
        check(cli.model.hparams.get("optimizer"), cli.model, cli.trainer)
    except argparse.ArgumentError as error:
        raise _explain(error, recipe) from None
    except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
        raise RecipeError(_reason(error), place_of(_reason(error), recipe)) from error
    config = {k: v for k, v in cli.config.as_dict().items() if k != "config"}
    return Lab(
        recipe,
        merged_config(recipe, config),
        cli.model,
        cli.datamodule,
        cli.trainer,
        next(c for c in cli.trainer.callbacks if isinstance(c, Checkpoints)),  # type: ignore[attr-defined]
        Tracking(**cli.config.track.as_dict()),
    )


def _quieten() -> None:
    """Without Lightning's device lists, advertisements and hints about things that are meant."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        r".*isinstance\(treespec, LeafSpec\)",
        "The number of training batches",
        ".*does not have many workers",
        "The `srun` command is available",
        ".*in the `DataLoader` in mid-epoch",
        "Starting from v1.9.0",
        "Grad strides do not match bucket view strides",
        r"Found \d+ module\(s\) in eval mode",  # as momentum copies and frozen encoders are
    ):
        warnings.filterwarnings("ignore", message=message)


def _fill_from_data(recipe: Recipe) -> None:
    """Give the model the data's channels, classes and size where the recipe does not."""
    given = recipe.config["model"].setdefault("init_args", {})
    try:
        model = load_class(recipe.config["model"]["class_path"], L.LightningModule)
        takes = inspect.signature(model).parameters
        data = load_class(recipe.config["data"]["class_path"], L.LightningDataModule)(
            **recipe.arguments("data")
        )
        known = {name: getattr(data, name, None) for name in FROM_DATA if name in takes}
    except InputError:
        raise
    except (ImportError, AttributeError, TypeError, ValueError):
        return  # the parser is about to say what is wrong
    for name, value in known.items():
        if name == "num_classes" and value == 0 and not given.get(name) and takes[name].default:
            kind = str(recipe.config["model"]["class_path"]).rpartition(".")[2]
            place = recipe.arguments("data").get("root", "the data")
            raise RecipeError(f"{kind} needs labels, and {place} has no class folders", recipe.name)
        if value is None or given.setdefault(name, value) == value:
            continue
        if name != "num_classes" or (isinstance(given[name], int) and given[name] < value):
            where = f"{recipe.origin(f'model.init_args.{name}')}, model.{name}"
            raise RecipeError(f"model.{name} is {given[name]!r}, the data's is {value}", where)


def merged_config(recipe: Recipe, full: dict[str, Any]) -> dict[str, Any]:
    """The recipe's own keys, and every argument of model and data spelt out with its value."""
    config = {key: recipe.config[key] for key in TOP_KEYS if key in recipe.config}
    for group in ("model", "data"):
        config[group] = {k: full[group][k] for k in ("class_path", "init_args")}
    return dict(_plain(config))


def all_settings(lab: Lab) -> str:
    """Every setting with its value, defaults included, as YAML."""
    return yaml.safe_dump(_plain(lab.config), sort_keys=False, width=100)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _check_groups(recipe: Recipe) -> None:
    """Keys of trainer, checkpoint and track against their constructors."""
    for group, kind in (("trainer", L.Trainer), ("checkpoint", Checkpoints), ("track", Tracking)):
        valid = set(inspect.signature(kind).parameters)
        given = recipe.config.get(group) or {}
        if not isinstance(given, dict):
            raise RecipeError(f"{group} must be a mapping, not {given!r}", recipe.origin(group))
        for key in given:
            if key not in valid:
                where = f"{recipe.origin(f'{group}.{key}')}, {group}.{key}"
                raise RecipeError(f"{group} has no setting {key}", where, nearest(key, valid))
    if (recipe.config.get("trainer") or {}).get("logger") not in (None, False):
        where = f"{recipe.origin('trainer.logger')}, trainer.logger"
        raise RecipeError("loggers are set under track:, not trainer.logger", where)
    for key in ("max_epochs", "max_steps"):
        if (recipe.config.get("trainer") or {}).get(key) == 0:
            where = f"{recipe.origin(f'trainer.{key}')}, trainer.{key}"
            raise RecipeError(f"trainer.{key} 0 trains nothing", where)
    _check_precision(recipe)
    _check_callbacks(recipe)


def _check_precision(recipe: Recipe) -> None:
    """Weights, batch statistics, losses and draws are float32."""
    given = (recipe.config.get("trainer") or {}).get("precision")
    if given is not None and str(given) not in PRECISIONS:
        where = f"{recipe.origin('trainer.precision')}, trainer.precision"
        what = f"trainer.precision {given}: weights stay float32 here"
        raise RecipeError(what, where, nearest(str(given), PRECISIONS[:3]))


def _check_callbacks(recipe: Recipe) -> None:
    known = set(classes("callbacks")) | set(lightning_callbacks.__all__)
    for item in (recipe.config.get("trainer") or {}).get("callbacks") or []:
        name = item.get("class_path") if isinstance(item, dict) else item
        if "." not in str(name) and name not in known:
            where = f"{recipe.origin('trainer.callbacks')}, trainer.callbacks"
            raise RecipeError(f"no callback {name}", where, nearest(str(name), known))


def _explain(error: argparse.ArgumentError, recipe: Recipe) -> RecipeError:
    """A page of jsonargparse about one wrong value -> the key, what it must be, what it is."""
    text = str(error)
    names = re.findall(r'key "([\w.]+)"', text)
    if not names:
        return RecipeError(_reason(error), recipe.name)
    group = names[0] in ("model", "data")
    path = ".init_args.".join(names[:2]) if group else names[0]
    tail = text[text.rindex(f'key "{names[-1]}"') :].partition("Given value")[0]
    types = re.findall(r"Expected an? (?:<class '(?:[\w.]*\.)?(\w+)'>|([\w.]+\[.*\]))", tail)
    expected = [(plain or rich).replace("typing.Literal", "one of ") for plain, rich in types]
    if group and len(names) > 1 and expected[-1:] == ["NoneType"]:
        expected.pop()  # the group's own alternative, not the key's
    short = path.replace(".init_args", "")
    where = f"{recipe.origin(path)}, {short}"
    if len(names) == group or not expected or "class_path" in tail:
        return RecipeError(f"{short}: {_reason(error)}", where)
    options = (
        " or ".join(dict.fromkeys(expected)).replace("NoneType", "null").replace("Sequence", "list")
    )
    return RecipeError(f"{short} must be {options}, not {_at(recipe.config, path)!r}", where)


def _at(node: Any, path: str) -> Any:
    for key in path.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _reason(error: BaseException) -> str:
    """The one line of an error that says something: jsonargparse buries it among alternatives."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    inner = [
        line[2:] for line in lines if line.startswith("- ") and "Expected a <class" not in line
    ]
    telling = [line for line in inner if not line.startswith("Problem with")] or lines
    after = [b for a, b in itertools.pairwise(lines) if "Problem with given class_path" in a]
    return (after or telling or [type(error).__name__])[0]


def place_of(message: str, recipe: Recipe) -> str:
    """The file whose argument an error message names, as far as it names one."""
    words = ["optimizer"] if "optimizer." in message else re.findall(r"\w+", message)
    places: dict[str, str] = {}
    for group in ("checkpoint", "data", "model"):  # the last one counts where two have a key
        given = recipe.config.get(group) or {}
        places |= dict.fromkeys(given.get("init_args", given), group)
    for named in (word for word in words if word in places):  # what the message names first
        return f"{recipe.origin(f'{places[named]}.init_args.{named}')}, {places[named]}.{named}"
    return recipe.name
