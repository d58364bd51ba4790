"""Identity of trained networks: which run a name means, and what its weights are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genlab import process, recipes, runs
from genlab.errors import CheckpointError, RecipeError, RunError
from genlab.files import step_of

DIGITS = 12  # of a SHA-256 that are kept
METRICS = {"accuracy": "", "knn_top1": ", kNN", "probe_top1": ", linear probe"}
IMAGES = {"test": "test", "val": "validation"}


def chosen(word: str | os.PathLike[str]) -> Path:
    """The checkpoint that a file, run, run id or recipe's name means.

    A recipe's name means its newest finished run with the recipe's own data; a line says which.

    Raises:
        RunError: nothing there, or runs that the name does not mean.
    """
    path = Path(word)
    if path.suffix in (".yaml", ".yml") and os.path.isfile(path):
        raise RunError(
            f"{word} is a recipe, not a run or checkpoint: genlab fit {word} trains it\n"
            "with model.head=file and model.pretrained=FILE in it, FILE itself is measured"
        )
    recipes.refuse_untrained(path)
    file = runs.checkpoint(path, recipes.foreign_images)
    if not path.exists() and file.parents[1].name != str(path):
        _say(str(path), file)
    return file


def _say(word: str, file: Path) -> None:
    data = _images_of_run(file.parents[1])
    process.note(f"{word}: {file}" + (f", trained on {data}" if data else ""), once=True)


def identify(file: Path, stamp: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Facts that identify a file of weights, as far as they are known.

    Args:
        file: path of the file.
        stamp: description of its run that a checkpoint contains, for a file outside its run.

    Returns:
        ``run`` (recipe and id), ``file``, ``data`` (images that it was trained on), its own
        ``metrics`` on test or validation images, ``sha256`` (the first digits of the file's).
    """
    run = file.absolute().parent.parent
    if file.parent.name != "checkpoints" or not runs.is_run(run):
        facts: dict[str, Any] = {"file": str(file), "data": _images((stamp or {}).get("recipe"))}
    else:
        name = runs.read_json(run / "run.json").get("recipe", run.parent.name)
        facts = {"run": f"{name}/{run.name}", "file": file.name, "data": _images_of_run(run)}
        facts["metrics"] = _own_metrics(runs.read_json(run / "metrics.json"), file.name)
    return {key: value for key, value in facts.items() if value} | {"sha256": digest(file)}


def in_words(facts: Mapping[str, Any]) -> str:
    """The facts of `identify` in one line."""
    parts = [str(facts[key]) for key in ("run", "file") if key in facts]
    if "data" in facts:
        parts.append(f"trained on {facts['data']}")
    for key, value in list(facts.get("metrics", {}).items())[:1]:
        split, _, metric = key.partition("/")
        parts.append(f"{value:.1%} of the {IMAGES[split]} images{METRICS[metric]}")
    if "sha256" in facts:
        parts.append(f"sha256 {str(facts['sha256'])[:DIGITS]}")
    return ", ".join(parts)


def digest(file: Path) -> str:
    """The first digits of a file's SHA-256, as ``sha256sum`` prints them."""
    return _whole_digest(file)[:DIGITS]


def _whole_digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def parents(arguments: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The networks that a method starts from, by argument.

    Each has the facts of `identify`, with the whole SHA-256; of a checkpoint of genlab also the
    ``path`` of its run, its ``step``, and the ``fingerprint`` and ``seed`` that it was trained by.

    Args:
        arguments: arguments of the method, with paths in place of names of runs.
    """
    from genlab.checkpoints.foreign.fetching import fetch
    from genlab.checkpoints.loading import FROM_RUNS

    found: dict[str, dict[str, Any]] = {}
    for name in ("pretrained", *FROM_RUNS):
        source = arguments.get(name)
        if source is True or source == "timm":
            found[name] = {"file": f"timm's {arguments.get('encoder')}"}
        elif isinstance(source, str) and source:
            try:
                found[name] = _parent(fetch(source).file)
            except (CheckpointError, OSError):  # loaded a moment ago; only its identity is unknown
                found[name] = {"file": recipes.without_credentials(source)}
    return found


def _parent(file: Path) -> dict[str, Any]:
    """Facts of a file of weights, those that its own stamp tells too."""
    from genlab.checkpoints.loading import read

    step = step_of(file)
    content = read(file) if step >= 0 else {}
    stamp = content.get("genlab")
    stamp = stamp if isinstance(stamp, dict) else {}
    facts = identify(file, stamp)
    if "run" in facts:
        facts["path"] = str(file.absolute().parent.parent)
    recipe = stamp.get("recipe")
    known = {
        "step": step if step >= 0 else None,
        "fingerprint": stamp.get("fingerprint"),
        "seed": recipe.get("seed_everything") if isinstance(recipe, dict) else None,
    }
    plain = {key: one for key, one in known.items() if isinstance(one, int | str)}
    return facts | plain | {"sha256": _whole_digest(file)}


def _images_of_run(run: Path) -> str:
    try:
        return _images(recipes.files.read(run / "recipe.yaml"))
    except RecipeError:
        return ""


def _images(recipe: Any) -> str:
    """The images that a resolved recipe trains on; empty for one that does not say."""
    data = recipe.get("data") if isinstance(recipe, dict) else None
    return recipes.described(data) if isinstance(data, dict) else ""


def _own_metrics(metrics: dict[str, Any], file: str) -> dict[str, float]:
    """Those of a run's metrics that were measured on this checkpoint, test before validation."""
    tested = METRICS if metrics.get("test_checkpoint") == file else ()
    keys = {f"test/{metric}": f"test/{metric}" for metric in tested}
    if file == "best.ckpt":
        keys |= {f"val/{metric}": f"best/val/{metric}" for metric in METRICS}
    found = {name: metrics.get(key) for name, key in keys.items()}
    return {name: float(v) for name, v in found.items() if isinstance(v, int | float)}
