"""Settings that change where a run is continued: applied and told, or refused with the reason."""

from __future__ import annotations

import copy
import enum
import hashlib
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import recipes, runs
from genlab.errors import CheckpointError, RecipeError
from genlab.recipes import Recipe

if TYPE_CHECKING:
    from genlab.training.building import Lab


class Unset(enum.Enum):
    """The value of a key that the recipe did not have, or has no longer."""

    UNSET = "unset"


UNSET = Unset.UNSET
SPLITS = "splits_sha256"  # in a run's facts and its checkpoints
NEW_RUN = "start a new run for it, without --resume"
FIXED = {  # key, or key and everything below it: why a continued run keeps its value
    "seed_everything": "what the run has drawn so far follows from its seed",
    "track.runs": "a run stays in its folder",
    "data": "the run has learnt from other data",
    "data.classes": "the run has learnt the numbers of its classes",
    "model": "the checkpoint is of another method",
    "model.encoder": "the checkpoint's weights are of another architecture",
    "model.generator": "the checkpoint's weights are of another architecture",
    "model.critic": "the checkpoint's weights are of another architecture",
    "model.network": "the checkpoint's weights are of another architecture",
    "model.tokenizer": "the run's codes are its tokenizer's",
    "model.space": "the run's latents are those of its autoencoder",
    "model.pretrained": "the run has its weights from its own checkpoint",
    "model.pretrained_options": "the run has its weights from its own checkpoint",
    "model.align": "the checkpoint has the running statistics of another target",
    "model.init_from_data": "training has begun",
    "model.optimizer.name": "the checkpoint has another optimiser's state",
    "model.optimizer.amsgrad": "the optimiser's state is of another kind",
    "model.optimizer.centered": "the optimiser's state is of another kind",
}
WHOLE = ("model.encoder", "model.pretrained_options")  # also what lies below them
NETWORK = re.compile(r"model\.\w+_kwargs\.(\w+)")  # an argument of a network's constructor


@dataclass(frozen=True)
class Change:
    """A setting with another value than before.

    Args:
        key: its name, as on the command line.
        old, new: the values, `UNSET` for none.
    """

    key: str
    old: Any
    new: Any

    def values(self) -> list[Any]:
        """Both values, for JSON: null for none."""
        return [None if value is UNSET else value for value in (self.old, self.new)]

    def line(self, step: int) -> str:
        """The line for the user: ``model.optimizer.lr: 0.003 -> 1e-05 from step 30``."""
        return f"{self.key}: {_shown(self.old)} -> {_shown(self.new)} from step {step:,}"


def between(old: Recipe, new: Recipe) -> list[Change]:
    """The settings in which two resolved recipes differ, in the order of the first."""
    before, now = (_leaves(recipes.without_credentials(one.config)) for one in (old, new))
    keys = dict.fromkeys([*before, *now])
    found = [Change(k, before.get(k, UNSET), now.get(k, UNSET)) for k in keys]
    return [c for c in found if c.old != c.new or _is_bool(c.old) != _is_bool(c.new)]


def arguments(
    changes: list[Change], group: str, config: dict[str, Any], defaults: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Former and present values of the changed arguments of ``model`` or ``data``, each whole.

    Args:
        changes: settings that are others than before.
        group: ``model`` or ``data``.
        config: the present settings.
        defaults: values of the arguments that were not set.
    """
    now, found = config[group]["init_args"], dict[str, tuple[Any, Any]]()
    for change in sorted(changes, key=lambda c: c.old is not UNSET):  # what was not there goes
        head, name, *below = change.key.split(".")
        if head != group or name not in now:
            continue
        former = copy.deepcopy(found[name][0] if name in found else now[name])
        if below:
            former = _put(former, below, change.old)
        else:
            former = defaults.get(name) if change.old is UNSET else change.old
        found[name] = (former, now[name])
    return found


def _put(node: Any, path: list[str], value: Any) -> Any:
    """Nested mappings with a value set or dropped deep in them; anything else has none to drop."""
    key, *below = path
    if not isinstance(node, dict):
        if value is UNSET:
            return node
        node = {}
    if below:
        node[key] = _put(node.get(key), below, value)
    elif value is UNSET:
        node.pop(key, None)
    else:
        node[key] = value
    return node


def refuse_fixed(changes: list[Change], where: str) -> None:
    """Refuse changes that a run which has begun cannot take.

    Raises:
        RecipeError: names the first and the reason.
    """
    for change in changes:
        names = [k for k in WHOLE if change.key.startswith(f"{k}.")]
        if (found := NETWORK.match(change.key)) and not _only_trains(found[1]):
            names.append("model.network")
        why = FIXED.get(change.key) or next((FIXED[k] for k in names), None)
        if why:
            what = f"{change.key} {_shown(change.old)} cannot become {_shown(change.new)}: {why}"
            raise RecipeError(what, where, NEW_RUN)


def _only_trains(name: str) -> bool:
    """True of a network's argument that does not change what it computes in eval mode."""
    from genlab.checkpoints.export.timm_folder import TRAINING_ONLY

    return name in TRAINING_ONLY or "drop" in name


def refuse_other_data(lab: Lab, run: Path, changes: list[Change], stamp: dict[str, Any]) -> None:
    """Compare the splits and labels that the data give now with those of the run.

    Labels whose file is damaged are compared by the loader, see `SemiLoader.check_state`.

    Args:
        lab: objects of the recipe, its data set up.
        run: the run directory.
        changes: settings that are others than before.
        stamp: description of the run in its checkpoint; empty if it has none yet.

    Raises:
        RecipeError: they differ; says how many validation images were trained on.
    """
    keys = [c.key for c in changes if c.key.startswith("data.")]
    where = ", ".join(keys) or f"{lab.recipe.name}: the data have changed since the run began"
    hint = "continue with " + ", ".join(
        f"{c.key}={_shown(c.old)}" for c in changes if c.key in keys and c.old is not UNSET
    )
    splits = getattr(lab.data, "splits", None)
    if splits is not None:
        told = _other_splits(splits(), run, stamp, bool(keys))
        if told:
            raise RecipeError(f"the splits are not the run's: {told}", where, hint if keys else "")
    record, labels = getattr(lab.data, "label_record", None), runs.read_json(run / "labels.json")
    if record is not None and labels and json.loads(json.dumps(record)) != labels:
        what = "the labelled images are not the run's"
        raise RecipeError(what, where, hint if keys else "")


def _other_splits(splits: dict[str, Any], run: Path, stamp: dict[str, Any], changed: bool) -> str:
    """Description of how splits differ from those of a run; empty if they do not."""
    old, known = old_splits(run), stamp.get(SPLITS)
    told = _apart(old, splits) if old else ""
    if not told and known is not None and known != digest(splits):
        told = f"they are others than those of its checkpoint, and {run}/splits.npz"
        told += " is not the checkpoint's" if old else " cannot be read"
    if not told and known is None and stamp and changed and not old:
        told = f"{run}/splits.npz cannot be read, so that nobody can tell"
    return told


def digest(splits: dict[str, Any]) -> str:
    """SHA-256 of the names and arrays of splits."""
    found = hashlib.sha256()
    for name in sorted(splits):
        found.update(f"{name} {len(splits[name])} ".encode())
        found.update(splits[name].astype("<i8").tobytes())
    return found.hexdigest()


@contextmanager
def shapes(changes: list[Change]) -> Iterator[None]:
    """Name the changed arguments where a checkpoint's weights do not fit the method.

    Raises:
        RecipeError: in place of the error about the weights.
    """
    try:
        yield
    except CheckpointError as error:
        keys = [c.key for c in changes if c.key.startswith("model.")]
        if not keys:
            raise
        why = str(error).splitlines()[0].split(": ", 1)[-1]
        what = f"the checkpoint's weights have other shapes: {why}"
        raise RecipeError(what, ", ".join(keys), NEW_RUN) from error


def refuse_lost_average(lab: Lab, content: dict[str, Any]) -> None:
    """Refuse to go on without `EMAWeights` from its checkpoint, whose weights are the average.

    Raises:
        RecipeError: the trainer has no such callback.
    """
    callbacks: list[Any] = lab.trainer.callbacks  # type: ignore[attr-defined]
    kinds = {kind.__name__ for callback in callbacks for kind in type(callback).__mro__}
    if "live_weights" in content and "EMAWeights" not in kinds:
        what = "EMAWeights cannot be removed: the checkpoint's weights are its average"
        raise RecipeError(what, f"{lab.recipe.name}, trainer.callbacks", NEW_RUN)


def old_splits(run: Path) -> dict[str, Any]:
    """The arrays of splits.npz; empty where there is none, or a torn one."""
    import numpy as np

    if not runs.whole(run / "splits.npz"):
        return {}
    try:
        with np.load(run / "splits.npz") as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return {}


def _apart(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Description of how splits differ; empty if they do not."""
    import numpy as np

    shared = old.keys() & new.keys()
    if old.keys() == new.keys() and all(np.array_equal(old[k], new[k]) for k in shared):
        return ""
    if {"train", "val"} <= shared:
        seen = int(np.isin(new["val"], old["train"]).sum())
        if seen and len(new["val"]):
            return f"{seen:,} of {len(new['val']):,} validation images were trained on"
    if all(len(old[k]) == len(new[k]) for k in shared) and old.keys() == new.keys():
        others = {k: int((~np.isin(new[k], old[k])).sum()) for k in new}
        counts = [f"{count:,} of {len(new[k]):,} {k}" for k, count in others.items() if count]
        told = ", ".join(counts)
        return f"{told} images are others" if told else "the images are in another order"
    sizes = [", ".join(f"{k} {len(v):,}" for k, v in part.items()) for part in (old, new)]
    return f"they were {sizes[0]} images and are {sizes[1]}"


def _leaves(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every value of nested mappings by its key as on the command line."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        inner = key in ("init_args", "class_path") and prefix in ("model", "data")
        path = prefix if inner else f"{prefix}.{key}".strip(".")
        if isinstance(value, dict) and value:
            found |= _leaves(value, path)
        elif not (inner and value == {}):  # a class without arguments
            found[path] = value
    return found


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _shown(value: Any) -> str:
    if isinstance(value, Unset):
        return value.value
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
