"""Arguments kept when another class, or settings of a preset's views, are laid over a recipe."""

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
            if "views" in kept and isinstance(present.get("views"), dict):
                kept["views"] = _as_mapping(kept["views"]) | present.pop("views")
            new["init_args"] = present = kept | present
        gone = {key: value for key, value in former.items() if key not in present}
        lost = [f"{key} {value}" for key, value in without_credentials(gone).items()]
        if lost:
            name = str(new["class_path"]).rpartition(".")[2]
            listed = " and ".join([", ".join(lost[:-1]), lost[-1]] if lost[1:] else lost)
            verb = "apply" if lost[1:] else "applies"
            recipe.notes.append(f"{group}={name}: {listed} of {recipe.name} no longer {verb}")


def keep_preset(recipe: Recipe, content: Mapping[str, Any]) -> None:
    """Make a preset's name a mapping where settings of views are laid over it.

    They would replace the name, and with it the preset.

    Args:
        recipe: settings so far.
        content: settings that are laid over them.
    """
    data, path = recipe.config.get("data"), "data.init_args.views"
    old, new = (
        _as_mapping(_as_mapping(c.get("data")).get("init_args")) for c in (recipe.config, content)
    )
    if not isinstance(data, dict) or not isinstance(old.get("views"), str):
        return
    if isinstance(new.get("views"), dict):
        recipe.origins[f"{path}.preset"] = recipe.origin(path)
        kept = data | {"init_args": old | {"views": _as_mapping(old["views"])}}
        recipe.config = recipe.config | {"data": kept}


def _as_mapping(value: Any) -> dict[str, Any]:
    """A mapping as it is, a name as that of a preset, anything else as nothing."""
    if isinstance(value, str):
        return {"preset": value}
    return dict(value) if isinstance(value, dict) else {}
