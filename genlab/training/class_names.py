"""Names of the classes: kept with a run, and what its labels mean when it is measured again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import process, recipes
from genlab.contracts import HasFileNames
from genlab.data.naming import HasClasses, place
from genlab.errors import RecipeError
from genlab.recipes import COMMAND_LINE, Recipe

if TYPE_CHECKING:
    from genlab.training.building import Lab

KEY = "data.init_args.classes"
SWITCHES = ("class_conditional", "conditional", "condition")  # off: a method takes no classes


def kept(lab: Lab) -> dict[str, Any]:
    """Names and number of the data's classes, for a run's facts and its checkpoints.

    Names are None where the classes have none.
    """
    count = getattr(lab.data, "num_classes", None)
    return {"classes": [str(name) for name in getattr(lab.data, "classes", ())] or None} | (
        {"num_classes": int(count)} if isinstance(count, int) else {}
    )


def pin(lab: Lab) -> None:
    """Write the names into the resolved recipe: run again, it numbers the classes in this order.

    Names that no text file can hold are left out.
    """
    if not isinstance(lab.data, HasClasses) or "classes" not in lab.config["data"]["init_args"]:
        return
    names = [str(name) for name in lab.data.classes]
    if names and all(name.isprintable() for name in names):
        lab.config["data"]["init_args"]["classes"] = names
    say(lab.data)


def say(data: object) -> None:
    """Print a line if labels are numbered otherwise than on disk."""
    if isinstance(data, HasClasses) and (note := data.naming.note(data)):
        process.note(note)


def classes_of(stamp: Any, spec: dict[str, Any]) -> dict[str, Any]:
    """The ``classes`` and ``num_classes`` that a checkpoint's method tells apart; empty if none.

    Args:
        stamp: description of the run in the checkpoint; of an older one it names no classes.
        spec: description of the method.
    """
    given = spec["init_args"]
    switched_off = any(name in given and not given[name] for name in SWITCHES)
    if not given.get("num_classes") or switched_off or not isinstance(stamp, dict):
        return {}
    names = stamp.get("classes")
    if names is None and "classes" in stamp:
        names = []
    known = isinstance(names, list) and all(isinstance(name, str) for name in names)
    count = stamp.get("num_classes") if known else given["num_classes"]
    return {"classes": names if known else None, "num_classes": count}


def take(recipe: Recipe, known: dict[str, Any]) -> None:
    """Number the labels of the data to measure by the method's classes; typed names win.

    Data for a method without classes are numbered as they are.

    Args:
        recipe: its data's arguments are changed in place.
        known: see `classes_of`.
    """
    arguments = recipe.arguments("data")
    if recipe.origins.get(KEY) == COMMAND_LINE:
        return
    arguments.pop("classes", None)
    path = str(recipe.config["data"]["class_path"])
    takes = recipes.parameters("data", path)
    if known.get("classes") and (takes is None or "classes" in takes):
        recipe.config["data"].setdefault("init_args", {})["classes"] = known["classes"]


def let_others_in(lab: Lab) -> None:
    """Give images in folders of other names the label -1, unless names are typed."""
    typed = lab.recipe.origins.get(KEY) == COMMAND_LINE
    if isinstance(lab.data, HasClasses) and isinstance(lab.data, HasFileNames) and not typed:
        lab.data.naming.lenient = True


def set_apart(recipe: Recipe, stamp: Any, known: dict[str, Any], run: Path) -> None:
    """Let results on other data leave the run's own files.

    Args:
        recipe: its callbacks' arguments are changed in place.
        stamp: description of the run in the checkpoint.
        known: see `classes_of`.
        run: the run directory.
    """
    trainer = recipe.config.get("trainer") or {}
    own = recipes.of_checkpoint(stamp, str(run))
    found = [c for c in trainer.get("callbacks") or [] if _draws(c)]
    if own is None or not found or recipes.same_parts(own.config["data"], recipe.config["data"]):
        return
    data = recipe.config["data"]
    text = json.dumps(data, sort_keys=True, default=str)
    place = str((data.get("init_args") or {}).get("root") or data["class_path"].rpartition(".")[2])
    name = "".join(c if c.isalnum() else "_" for c in Path(place).name)
    folder = run / "other_data" / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    for callback in found:
        given = {"folder": str(folder), "predicted": known.get("classes")}
        callback["init_args"] = given | (callback.get("init_args") or {})


def _draws(callback: Any) -> bool:
    """True if a recipe's callback writes a table of the classes."""
    path = callback.get("class_path") if isinstance(callback, dict) else None
    return path == recipes.classes("callbacks")["ConfusionMatrix"]


def compare(data: Any, known: dict[str, Any], checkpoint: str) -> None:
    """Say how labels are numbered; where classes have no names, their numbers must agree.

    Args:
        data: the data to measure, set up.
        known: see `classes_of`.
        checkpoint: name of the checkpoint, for messages.

    Raises:
        RecipeError: another number of classes, and nothing that names them.
    """
    say(data)
    names, count, own = known.get("classes"), known.get("num_classes"), _own_count(data)
    if names and isinstance(data, HasClasses):
        if list(data.classes) != list(names):
            why = "as asked, not by those of"
            process.note(f"{place(data)}: classes are numbered {why} {checkpoint}")
        return
    if not count or not own or own == count:
        return
    what = f"{_place(data)} has {own} classes, {checkpoint} knows {count}"
    if names is not None:
        hint = "data.classes=[NAME, ...] names them" if isinstance(data, HasClasses) else ""
        raise RecipeError(f"{what}, and their names do not tell which", hint=hint)
    process.note(f"{what} and not their names: labels are numbered as the data's")


def _own_count(data: Any) -> int:
    count = getattr(data, "num_classes", 0)
    return count if isinstance(count, int) else 0


def _place(data: Any) -> str:
    return place(data) if isinstance(data, HasClasses) else type(data).__name__
