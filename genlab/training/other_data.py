"""Other images than a run's own: all of them are tested, and counted."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import process, recipes
from genlab.contracts import TestsOnAll
from genlab.training import changes

if TYPE_CHECKING:
    from genlab.training.building import Lab

DIVIDING = ("test_size", "val_size", "split_seed", "folds", "fold")


def is_named(lab: Lab) -> bool:
    """True if the command line names images in files."""
    return isinstance(lab.data, TestsOnAll) and (
        _typed(lab, "class_path") or any(_typed(lab, f"init_args.{k}") for k in ("root", "table"))
    )


def name(lab: Lab) -> str:
    """Name of the data that the command line names, class or folder; empty for the run's own."""
    files = [key for key in ("root", "table") if _typed(lab, f"init_args.{key}")]
    if is_named(lab) and files:
        return Path(str(lab.recipe.arguments("data").get(files[0]))).stem
    return type(lab.data).__name__ if _typed(lab, "class_path") else ""


def test_all(lab: Lab, run: Path, stamp: Any) -> None:
    """Test all images that the command line names, unless they have a test part or are the run's.

    Args:
        lab: its data are not set up yet.
        run: the run directory, with its splits.
        stamp: description of the run in its checkpoint.
    """
    if is_named(lab) and not any(_typed(lab, f"init_args.{key}") for key in DIVIDING):
        data: Any = lab.data
        data.test_on_all(partial(_are_known, run, stamp))


def say(lab: Lab, split: str) -> None:
    """Print how many of the images that the command line names are measured."""
    if not is_named(lab):
        return
    data: Any = lab.data
    every = sum(len(loader.source) for _, loader in data.every_image())
    count = len(data.splits()[split])
    place = lab.recipe.arguments("data").get("root") or type(data).__name__
    what = f"all {every:,}" if count == every else f"the {split} split, {count:,} of {every:,}"
    process.note(f"measured: {what} images of {place}")


def _typed(lab: Lab, key: str) -> bool:
    return lab.recipe.origins.get(f"data.{key}") == recipes.COMMAND_LINE


def _are_known(run: Path, stamp: Any, splits: dict[str, Any]) -> bool:
    """True if splits contain those of the run, which leave out broken images, or are the same."""
    import numpy as np

    if isinstance(stamp, dict) and stamp.get(changes.SPLITS) == changes.digest(splits):
        return True
    known = changes.old_splits(run)
    parts = splits.keys() & known.keys()
    return bool(known) and all(bool(np.isin(known[k], splits[k]).all()) for k in parts)
