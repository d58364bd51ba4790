"""A run opened again for measuring: its method with weights, its data, a trainer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import process, recipes
from genlab.contracts import Classifies, HasLabels
from genlab.errors import CheckpointError, RecipeError, RunError
from genlab.recipes import COMMAND_LINE, Recipe
from genlab.training import other_data
from genlab.training.endings import input_errors
from genlab.training.fitting import has_test
from genlab.training.record import finite

if TYPE_CHECKING:
    from genlab.training.building import Lab


@process.notes_held()
def open_run(
    files: list[str],
    overrides: list[str],
    ckpt: str | None = None,
    test: bool = False,
    unknown: bool = False,
) -> tuple[Lab, Path]:
    """Method and data of a run, a checkpoint, or a recipe with a checkpoint of its own.

    Method, weights, data and seed come from the checkpoint, or the data from a recipe that is named
    with it. The trainer is genlab's own, or that recipe's: a file chooses no trainer. A recipe with
    ``model.head=file`` needs no run: encoder and classifier are those of ``model.pretrained``.

    Args:
        files: the run, checkpoint or recipe.
        overrides: ``key=value`` settings.
        ckpt: checkpoint of a recipe.
        test: True to test all images that the settings name, see `other_data.test_all`.
        unknown: True to take images of other classes than the method's, with the label -1.
    """
    if len(files) != 1:
        raise RecipeError("name one run, checkpoint or recipe")
    from genlab import checkpoints
    from genlab.training import class_names, file_head

    stamp: Any = {}
    untrained = None if ckpt else file_head.recipe_of(files[0], overrides)
    if untrained:
        lab, file = file_head.open_file(untrained)
        known = class_names.classes_of({}, checkpoints.spec(lab.model))
    else:
        lab, file, stamp, known = _open_checkpoint(files, overrides, ckpt)
    lab.data.trainer = lab.trainer
    if unknown:
        class_names.let_others_in(lab)
    with input_errors(lab.recipe):
        lab.data.prepare_data()
        if test:
            other_data.test_all(lab, file.parent.parent, stamp)
        lab.data.setup("test")
    class_names.compare(lab.data, known, file.name)
    for name, facts in lab.parents.items():
        process.note(f"{name}: {checkpoints.in_words(facts)}")
    return lab, file


def _open_checkpoint(
    files: list[str], overrides: list[str], ckpt: str | None
) -> tuple[Lab, Path, Any, dict[str, Any]]:
    """Method with weights and data, the checkpoint, its stamp, the classes that it tells apart."""
    from genlab import checkpoints
    from genlab.training import class_names, file_head
    from genlab.training.building import build

    file = Path(ckpt) if ckpt else checkpoints.chosen(files[0])
    try:
        content = checkpoints.read(file)
        recipe = _recipe(content, file, files if ckpt else [], overrides)
        spec = checkpoints.described(content, file)
        recipes.check(spec, recipe.trusted)
        checkpoints.refuse_files(spec["init_args"])
        _take_method(recipe, spec)
        file_head.refuse_typed(recipe, file)
        stamp = content.get("genlab")
        known = class_names.classes_of(stamp, spec)
        class_names.take(recipe, known)
        if files:
            class_names.set_apart(recipe, stamp, known, file.parent.parent)
        recipes.check_keys(recipe)
        lab = build(recipe, file.parent.parent)
        checkpoints.restore(lab.model, content, file)
        checkpoints.check_finite(lab.model, file)
        lab.parents = _parents(stamp, file)
    except CheckpointError as error:
        raise RunError(str(error)) from None
    return lab, file, stamp, known


def _parents(stamp: Any, file: Path) -> dict[str, Any]:
    """The networks that a checkpoint's method was made from, by argument; empty if unknown.

    Raises:
        CheckpointError: they are not facts of `checkpoints.identify`.
    """
    from genlab import checkpoints

    found = stamp.get("parents", {}) if isinstance(stamp, dict) else {}
    try:
        for facts in found.values():
            checkpoints.in_words(facts)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise CheckpointError(f"{file} is damaged: its parents are not facts of networks") from None
    return found


def _recipe(content: dict[str, Any], file: Path, files: list[str], overrides: list[str]) -> Recipe:
    """The recipe that was named, else the checkpoint's own data and seed."""
    trusted = recipes.trust.of(file)
    if not files:
        stamp = content.get("genlab", {})
        return _fetch_nothing(recipes.from_config(stamp, str(file), overrides, trusted))
    recipe = recipes.resolve(files, overrides)
    recipe.trusted = trusted | recipes.foreign(recipe.config)
    return recipe


def _fetch_nothing(recipe: Recipe) -> Recipe:
    """A checkpoint's recipe that downloads nothing into a folder which only that file names."""
    arguments, path = recipe.arguments("data"), str(recipe.config["data"]["class_path"])
    keys = [f"data.init_args.{key}" for key in ("root", "download")]
    typed = any(recipe.origins.get(key) == COMMAND_LINE for key in keys)
    takes = recipes.parameters("data", path) or ()
    if arguments.get("root") is not None and "download" in takes and not typed:
        arguments["download"] = False
    return recipe


def _take_method(recipe: Recipe, spec: dict[str, Any]) -> None:
    """The checkpoint's own method and arguments instead of the recipe's; typed ones still win."""
    written = recipe.config.get("model", {}).get("init_args") or {}
    changed = _typed(written, recipe.origins, "model.init_args")
    path = recipes.class_path("model", str(spec["class_path"]))
    arguments = recipes.merge(spec["init_args"], changed)
    recipe.config["model"] = {"class_path": path, "init_args": arguments}


def _typed(node: dict[str, Any], origins: dict[str, str], group: str) -> dict[str, Any]:
    """What the command line set of nested settings: ``encoder_kwargs.stem`` without its fellows."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        path = f"{group}.{key}"
        if isinstance(value, dict) and value:
            if inner := _typed(value, origins, path):
                found[key] = inner
        elif origins.get(path) == COMMAND_LINE:
            found[key] = value
    return found


def _check_labels(lab: Lab, split: str) -> None:
    """Refuse to measure a classifier where no image has a label.

    Raises:
        RecipeError: as said.
    """
    data = lab.data
    if (
        isinstance(lab.model, Classifies)
        and isinstance(data, HasLabels)
        and not data.labelled(split)
    ):
        where = lab.recipe.arguments("data").get("root", type(data).__name__)
        what = f"{type(lab.model).__name__} needs labels, and no {split} image of {where} has one"
        hint = "genlab predict needs none"
        raise RecipeError(what, lab.recipe.origin("data.init_args.root"), hint)


def figures_of(lab: Lab, kind: str) -> dict[str, Any]:
    """Metrics that ``validate`` or ``test`` logs, as plain numbers; empty without a test."""
    if kind == "test" and not has_test(lab):
        return {}
    split = "test" if kind == "test" else "val"
    _check_labels(lab, split)
    other_data.say(lab, split)
    getattr(lab.trainer, kind)(lab.model, datamodule=lab.data, verbose=False)
    return {k: finite(float(v)) for k, v in lab.trainer.callback_metrics.items()}
