"""``validate`` and ``test``: a run, measured again."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import recipes, runs
from genlab.cli.record import finite
from genlab.cli.stops import input_errors
from genlab.cli.train import has_test, split_words
from genlab.recipes import COMMAND_LINE, Recipe, RecipeError

if TYPE_CHECKING:
    from genlab.cli.build import Lab


def open_run(words: list[str], ckpt: str | None = None) -> tuple[Lab, Path]:
    """Recipe and checkpoint that words like ``RUN``, ``CKPT`` or ``RECIPE --ckpt FILE`` mean.

    The method comes from the checkpoint, with its weights; data and trainer from the recipe, which
    lies in the run directory or, for a file on its own, inside the checkpoint.
    """
    files, overrides = split_words(words)
    if len(files) != 1:
        raise RecipeError("name one run, checkpoint or recipe")
    from genlab import checkpoints
    from genlab.cli.build import build

    file = Path(ckpt) if ckpt else runs.checkpoint(files[0])
    try:
        content = checkpoints.read(file)
        if ckpt:
            recipe = recipes.resolve(files, overrides)
        else:
            recipe = recipes.from_config(content.get("genlab", {}), str(file), overrides)
        recipes.check_keys(recipe)
        _take_method(recipe, checkpoints.described(content, file))
        lab = build(recipe, file.parent.parent)
        checkpoints.restore(lab.model, content, file)
    except checkpoints.CheckpointError as error:
        raise runs.RunError(str(error)) from None
    lab.data.trainer = lab.trainer
    with input_errors(recipe):
        lab.data.prepare_data()
        lab.data.setup("test")
    return lab, file


def _take_method(recipe: Recipe, spec: dict[str, Any]) -> None:
    """The checkpoint's own method and arguments instead of the recipe's; words still win."""
    group = "model.init_args."
    words = {k.removeprefix(group) for k, v in recipe.origins.items() if v == COMMAND_LINE}
    changed = {k: v for k, v in recipe.arguments("model").items() if k in words}
    recipe.config["model"] = spec | {"init_args": spec["init_args"] | changed}
    recipes.class_path("model", spec["class_path"])


def figures_of(lab: Lab, kind: str) -> dict[str, Any]:
    """What ``validate`` or ``test`` logs, as plain numbers; none where the method has no test."""
    if kind == "test" and not has_test(lab):
        return {}
    getattr(lab.trainer, kind)(lab.model, datamodule=lab.data, verbose=False)
    return {k: finite(float(v)) for k, v in lab.trainer.callback_metrics.items()}


def report(file: Path, figures: dict[str, Any], as_json: bool) -> None:
    """Print figures as a table or as JSON, with the checkpoint they belong to."""
    if as_json:
        print(json_format.dumps({"checkpoint": str(file)} | figures, indent=2))
        return
    print(f"checkpoint {file}")
    width = max(map(len, figures), default=0)
    for key, value in figures.items():
        print(
            f"  {key:<{width}}  {value:.6g}"
            if isinstance(value, float)
            else f"  {key:<{width}}  {value}"
        )


def _measure(kind: str, words: list[str], ckpt: str | None, as_json: bool) -> None:
    lab, file = open_run(words, ckpt)
    if kind == "test" and not has_test(lab):
        raise RecipeError(
            f"{type(lab.model).__name__} has no test; genlab evaluate judges features"
        )
    report(file, figures_of(lab, kind), as_json)


def validate(words: list[str], ckpt: str | None, json: bool) -> None:
    """Validation figures of a checkpoint."""
    _measure("validate", words, ckpt, json)


def test(words: list[str], ckpt: str | None, json: bool) -> None:
    """Test figures of a checkpoint."""
    _measure("test", words, ckpt, json)
