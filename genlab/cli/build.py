"""From a resolved recipe to model, data and trainer, through LightningCLI."""

from __future__ import annotations

import argparse
import inspect
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from genlab.callbacks import Checkpoints, ProgressReport, Reseed, StepMetrics, Tracking
from genlab.checkpoints import AtomicCheckpointIO
from genlab.recipes import Recipe, RecipeError, nearest

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
                args=recipe.config,
                run=False,
                auto_configure_optimizers=False,
            )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The groups beside model, data and trainer."""
        parser.add_lightning_class_args(Checkpoints, "checkpoint")
        parser.add_class_arguments(Tracking, "track")

    def before_instantiate_classes(self) -> None:
        """Give the model the data's channels, classes and size where the recipe does not."""
        kind = _import(self.config.data.class_path)
        data = kind(**self.config.data.init_args.as_dict())
        arguments, given = self.config.model.init_args, self.recipe.arguments("model")
        for name in FROM_DATA:
            if name in arguments and name not in given and getattr(data, name, None) is not None:
                arguments[name] = getattr(data, name)

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """The trainer, writing atomically into the run directory, its loggers still to come."""
        plugins = self.config_init.trainer.get("plugins") or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        return super().instantiate_trainer(
            default_root_dir=str(self.run), plugins=[*plugins, AtomicCheckpointIO()], logger=False
        )


def build(recipe: Recipe, run: Path) -> Lab:
    """Model, data and trainer of a recipe; nothing is written.

    Args:
        recipe: resolved and pre-checked.
        run: the directory that the run is going to use.

    Raises:
        RecipeError: an unknown key, a wrong type or value; names the key, its file and a way out.
    """
    _check_groups(recipe)
    try:
        cli = RecipeCLI(recipe, run)
    except argparse.ArgumentError as error:
        raise _explain(error, recipe) from None
    except (ValueError, TypeError) as error:
        raise RecipeError(_first_line(error), _where(error, recipe)) from error
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


def merged_config(recipe: Recipe, full: dict[str, Any]) -> dict[str, Any]:
    """The recipe's own keys, and every argument of model and data spelt out with its value."""
    config = dict(recipe.config)
    for group in ("model", "data"):
        config[group] = {k: full[group][k] for k in ("class_path", "init_args")}
    return yaml.safe_load(yaml.safe_dump(_plain(config)))


def all_settings(lab: Lab) -> str:
    """Every setting with its value, defaults included, as YAML."""
    return yaml.safe_dump(_plain(lab.config), sort_keys=False, width=100)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _import(class_path: str) -> type:
    module, _, name = class_path.rpartition(".")
    return getattr(__import__(module, fromlist=[name]), name)


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


def _explain(error: argparse.ArgumentError, recipe: Recipe) -> RecipeError:
    """jsonargparse's page about one wrong value -> the key, the value and what was expected."""
    text = str(error)
    key = re.search(r'key "([\w.]+)"', text)
    found = re.findall(r'(?:Parser|parser) key "([\w.]+)"', text)
    inner = re.findall(r"Problem with given class_path '[\w.]+'", text)
    name = found[-1] if found else key[1] if key else ""
    if inner and found and len(found) > 1:
        name = f"{found[0]}.init_args.{found[-1]}"
    reason = [
        line.strip(" -") for line in text.splitlines() if "xpected" in line or "nvalid" in line
    ]
    what = reason[-1] if reason else _first_line(error)
    short = name.replace(".init_args", "")
    return RecipeError(f"{short}: {what}" if short else what, f"{recipe.origin(name)}, {short}")


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__


def _where(error: BaseException, recipe: Recipe) -> str:
    """The file whose argument an error message names, as far as it names one."""
    words = re.findall(r"\w+", str(error))
    for group in ("model", "data", "checkpoint"):
        given = recipe.config.get(group) or {}
        for key in given.get("init_args", given):
            if key in words:
                origin = recipe.origin(f"{group}.init_args.{key}")
                return f"{origin}, {group}.{key}"
    return recipe.name
