"""``sweep``: every combination of some settings, or random ones; a run each, no server needed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genlab import process, recipes, runs
from genlab.cli.arguments import job_options, split_words
from genlab.errors import RecipeError, RunError, cannot_write, nearest
from genlab.experiments import axes
from genlab.experiments.arrays import job_of, submit_array
from genlab.experiments.pool import run_all
from genlab.experiments.trials import Trial
from genlab.files import shown_path
from genlab.recipes import COMMAND_LINE, Recipe
from genlab.runs.finding import SWEEP


def sweep_options(parser: ArgumentParser) -> None:
    """A grid or random search of a recipe's settings, without a server."""
    parser.add_argument("words", nargs="*", metavar="RECIPE|FILE.yaml|key=value|key=a,b|key=0..4")
    parser.add_argument("--random", type=int, metavar="N", help="N random trials, not the grid")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random trials")
    parser.add_argument("--name", help="the sweep's name; default: the time")
    parser.add_argument("--resume", metavar="SWEEP", help="go on: what is finished is skipped")
    parser.add_argument("--parallel", type=int, default=1, metavar="P", help="runs at a time")
    parser.add_argument("--dry-run", action="store_true", help="print the trials and stop")
    parser.add_argument(
        "--runs-in", dest="root", default="runs", metavar="DIR", help="for --resume"
    )
    parser.add_argument("--submit", action="store_true", help="as a Slurm job array; see submit")
    job_options(parser)


def sweep(
    words: list[str],
    random: int | None = None,
    seed: int = 0,
    name: str | None = None,
    resume: str | None = None,
    parallel: int = 1,
    dry_run: bool = False,
    submit: bool = False,
    root: str = "runs",
    **wish: Any,
) -> int:
    """Train every trial that is not finished, one after another or as a job array; then compare."""
    if parallel < 1:
        raise RecipeError(f"--parallel {parallel} must be at least 1", COMMAND_LINE)
    if random is not None and random < 1:
        raise RecipeError(f"--random {random} must be at least 1", COMMAND_LINE)
    if resume is not None and (words or random or name):
        raise RecipeError(f"--resume {resume} continues with its own arguments", COMMAND_LINE)
    new = resume is None
    folder, found = planned(words, random, seed, name) if new else opened(str(resume), root)
    job = _job(folder, found, wish) if submit else None
    if new:
        _check(found, job)
    if dry_run:
        _list(found)
        return 0
    if new:
        _write(folder, found)
    if job is not None:
        return _submit(folder, found, job, parallel, new)
    return _train(folder, found, parallel)


def planned(
    words: list[str], random: int | None, seed: int, name: str | None
) -> tuple[Path, list[Trial]]:
    """The folder and trials of a new sweep; nothing is written.

    Raises:
        RecipeError: unknown recipe, wrong arguments, or a name that is taken.
    """
    files, overrides = split_words(words)
    found = axes.axes(overrides)
    if kept := [one.key for one in found if one.key.startswith("track.") and len(one.values) != 1]:
        raise RecipeError(f"{kept[0]} sets the folder of runs: it cannot vary", COMMAND_LINE)
    own = axes.drawn(found, random, seed) if random is not None else axes.grid(found)
    constant = [f"{one.key}={one.values[0]}" for one in found if len(one.values) == 1]
    recipe = recipes.resolve(files, constant)
    if name is not None and not re.fullmatch(r"[\w.-]+", name):
        raise RecipeError(f"--name {name} may contain letters, digits, - _ .", COMMAND_LINE)
    identity = name or f"{process.new_id()}-sweep"
    root = recipe.runs.absolute()
    folder = root / recipe.name / identity
    if os.path.lexists(folder):
        raise RecipeError(f"{folder} exists: genlab sweep --resume {identity}", COMMAND_LINE)
    fixed = [*map(_absolute, files), *_settings(constant, found, root, identity)]
    digits = len(str(len(own) - 1))
    listed = [[word for word in words if word not in constant] for words in own]
    return folder, [
        Trial(folder.parent / f"{identity}-{k:0{digits}d}", varying, fixed)
        for k, varying in enumerate(listed)
    ]


def _settings(
    constant: list[str], found: Sequence[axes.Axis], root: Path, identity: str
) -> list[str]:
    """Arguments common to all trials: the user's, and the sweep's place.

    Settings are selected on validation data: only a sweep over nothing but seeds is tested.
    """
    keys = {one.key for one in found}
    varying = {one.key for one in found if len(one.values) != 1}
    shared = [word for word in constant if not word.startswith("track.runs=")]
    shared.append(f"track.runs={json.dumps(str(root), ensure_ascii=False)}")
    if "track.group" not in keys:
        shared.append(f"track.group={json.dumps(identity, ensure_ascii=False)}")
    if "track.test_after_fit" not in keys and varying - {axes.SEED}:
        shared.append("track.test_after_fit=false")
    return shared


def opened(word: str, root: str) -> tuple[Path, list[Trial]]:
    """The folder and trials of a sweep that was begun.

    Raises:
        RunError: there is none of that name.
    """
    known = [file.parent for file in Path(root).glob(f"**/{SWEEP}")]
    named = [
        folder for folder in (Path(word), *known) if folder == Path(word) or folder.name == word
    ]
    folder = next((one.absolute() for one in named if os.path.isfile(one / SWEEP)), None)
    if folder is None:
        names = {one.name for one in known}
        hint = nearest(word, names) or f"there are no sweeps under {root}/"
        raise RunError(f"{word} is not a sweep\n{hint}")
    content = runs.read_json(folder / SWEEP)
    _check_form(content, folder / SWEEP)
    if any(Path(name).name != name for name in content["runs"]):
        raise RunError(f"{folder / SWEEP} names a run outside the sweep's folder")
    words = [*content["fixed"], *(word for own in content["trials"] for word in own)]
    recipes.check_words(words, recipes.trust.of(folder))
    pairs = zip(content["runs"], content["trials"], strict=True)
    return folder, [Trial(folder.parent / name, own, content["fixed"]) for name, own in pairs]


def _check_form(content: dict[str, Any], file: Path) -> None:
    """Refuse what `_write` does not write."""
    lists = [content.get(key) for key in ("fixed", "runs", "trials")]
    trials = lists[2] if isinstance(lists[2], list) else [None]
    right = all(isinstance(one, list) for one in (*lists, *trials))
    words = [word for one in (*lists[:2], *trials) for word in one or ()] if right else [None]
    if not all(isinstance(word, str) for word in words) or len(trials) != len(lists[1] or ()):
        raise RunError(f"{file} is damaged: it lists no runs with the arguments of each")


def _absolute(word: str) -> str:
    return str(Path(word).absolute()) if os.path.exists(word) else word


def _check(found: Sequence[Trial], job: Any) -> None:
    """Every trial's keys, and every value once in a model, before the first run.

    Raises:
        RecipeError: the first that is wrong.
    """
    resolved: list[tuple[Trial, Recipe]] = []
    for trial in found:
        files, overrides = split_words([*trial.fixed, *trial.words])
        recipe = recipes.resolve(files, overrides)
        recipes.check_keys(recipe)
        resolved.append((trial, recipe))
    from genlab.cli.validation import validate
    from genlab.training.building import build

    tried: set[str] = set()
    for trial, recipe in resolved:
        if tried.issuperset(trial.words):
            continue
        tried |= set(trial.words)
        if job is not None:
            validate(recipe, job)
        else:
            build(recipe, trial.run)


def _list(found: Sequence[Trial]) -> None:
    for trial in found:
        command = shlex.join(recipes.without_credentials(trial.command))
        print(f"{trial.run.name}  genlab fit {command}  ({trial.state})")
    print(f"{len(found)} runs")


def _write(folder: Path, found: Sequence[Trial]) -> None:
    words = [*found[0].fixed, *(word for trial in found for word in trial.words)]
    secret = words != recipes.without_credentials(words)
    try:
        folder.mkdir(mode=0o700 if secret else 0o777, parents=True)
        names, own = [trial.run.name for trial in found], [trial.words for trial in found]
        runs.write_json(folder / SWEEP, {"fixed": found[0].fixed, "runs": names, "trials": own})
        recipes.trust.keep(folder, recipes.foreign_words(words))
    except OSError as error:
        if not isinstance(error, FileExistsError):
            shutil.rmtree(folder, ignore_errors=True)
        raise cannot_write(folder, error, "choose another place with track.runs=DIR") from None


def _train(folder: Path, found: Sequence[Trial], parallel: int) -> int:
    """Run what is not finished, then print the table of all."""
    waiting = [trial for trial in found if trial.state not in ("done", "running")]
    print(f"sweep {folder.name}: {len(waiting)} of {len(found)} runs to do", file=sys.stderr)
    tasks = [
        trial.task(None if parallel == 1 else folder / f"{trial.run.name}.log") for trial in waiting
    ]
    codes = run_all(tasks, parallel)
    again = f"genlab sweep --resume {shlex.quote(shown_path(folder))}"
    if any(code < 0 or code == 130 for code in codes):  # a signal: ours or someone's
        print(f"stopped; go on with: {again}", file=sys.stderr)
        return 130
    if len(codes) < len(tasks) and not any(trial.state == "done" for trial in found):
        if not any(runs.is_run(trial.run) for trial in found):
            shutil.rmtree(folder)
        return 2  # the first run was refused, and has said why
    if any(runs.is_run(trial.run) for trial in found):
        from genlab.cli.compare import compare

        compare([str(folder)])
    if failed := [trial for trial in found if trial.state != "done"]:
        print(f"{len(failed)} runs are not finished; try again: {again}", file=sys.stderr)
    return int(bool(failed))


def _job(folder: Path, found: Sequence[Trial], wish: dict[str, Any]) -> Any:
    files, overrides = split_words(found[0].fixed)
    recipe = recipes.resolve(files, overrides)
    root = folder.parent.parents[len(Path(recipe.name).parts) - 1]
    return job_of(recipe.name, root, wish)


def _submit(folder: Path, found: Sequence[Trial], job: Any, parallel: int, new: bool) -> int:
    """One job array, a task for each run that is not finished."""
    waiting = [trial for trial in found if trial.state not in ("done", "running")]
    if not waiting:
        print("every run is finished")
        return 0
    try:
        answer = submit_array(folder, waiting, job, parallel)
    except RunError:
        if new:
            runs.remove(folder)
        raise
    print(f"job    {answer}, an array of {len(waiting)}\nsweep  {shown_path(folder)}")
    print(f"next   genlab jobs, genlab compare {folder.name}, genlab cancel {answer}")
    return 0
