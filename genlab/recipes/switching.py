"""Arguments kept when the command line names another class for a group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from genlab.recipes.class_names import PACKAGES, descends, parameters
from genlab.recipes.credentials import without_credentials

if TYPE_CHECKING:
    from genlab.recipes.resolution import Recipe

# arguments of a data module that a recipe means for any data
ANY_DATA = (
    "batch_size", "eval_batch_size", "views", "sampling", "seed", "labels", "labels_seed",
    "unlabeled_ratio", "strong", "exclude_labeled", "steps_per_epoch",
)  # fmt: skip
# and those meant for any images in files, however they are stored
IN_FILES = (
    "image_size", "channels", "crop_ratio", "augment", "in_memory", "workers", "val_size",
    "test_size",
)  # fmt: skip


def carry_over(recipe: Recipe, before: Mapping[str, Any]) -> None:
    """Keep what was meant for any data where the new class takes it; note what no longer applies.

    Args:
        recipe: with the command line's arguments; its data's arguments and notes are changed.
        before: the recipe's ``config`` without those arguments.
    """
    for group in PACKAGES:
        old, new = before.get(group), recipe.config.get(group)
        if not old or not new or old.get("class_path") in (None, new.get("class_path")):
            continue
        former, present = dict(old.get("init_args") or {}), new.setdefault("init_args", {})
        takes = parameters(group, str(new["class_path"])) or set()
        if group == "data":
            paths = str(old["class_path"]), str(new["class_path"])
            files = all(descends(group, path, "EncodedImages") for path in paths)
            meant = ANY_DATA + IN_FILES if files else ANY_DATA
            kept = {k: v for k, v in former.items() if k in meant and k in takes}
            new["init_args"] = present = kept | present
        gone = {key: value for key, value in former.items() if key not in present}
        lost = [f"{key} {value}" for key, value in without_credentials(gone).items()]
        if lost:
            name = str(new["class_path"]).rpartition(".")[2]
            listed = " and ".join([", ".join(lost[:-1]), lost[-1]] if lost[1:] else lost)
            verb = "apply" if lost[1:] else "applies"
            recipe.notes.append(f"{group}={name}: {listed} of {recipe.name} no longer {verb}")
