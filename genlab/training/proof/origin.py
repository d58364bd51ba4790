"""Seed and fingerprint of a run, as its run.json and checkpoints tell them and as they are here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genlab import recipes, runs
from genlab.checkpoints import read
from genlab.errors import InputError
from genlab.recipes import fingerprints
from genlab.recipes.kept_fingerprints import Kept
from genlab.training.proof.report import Report
from genlab.training.provenance import same_run


def check(run: Path, report: Report) -> bool:
    """Compare the seed and the fingerprint of a run with those of its recipe.yaml.

    Args:
        run: the run directory.
        report: list of findings to add to.

    Returns:
        True if the code here, and the versions, are those that trained the run.
    """
    facts = runs.read_json(run / "run.json")
    try:
        recipe = recipes.of_run(run)
        stamp = read(run / "checkpoints/last.ckpt").get("genlab", {})
    except (InputError, OSError):
        return True  # refused elsewhere
    seed = recipe.config.get("seed_everything", 0)
    if facts.get("seed") != seed:
        report.refuse(f"run.json: the seed is {facts.get('seed')}, recipe.yaml's {seed}")
    told = facts.get(same_run.KEY)
    if told != stamp.get(same_run.KEY):
        report.refuse("run.json: its fingerprint is not that of last.ckpt")
    known = same_run.segments(_history(facts))
    parents = facts.get("parents", {})
    if not isinstance(parents, dict) or not isinstance(facts.get("history", []), list):
        report.refuse("run.json is damaged: its parents or history")
        return True
    here = Kept().of_recipe(fingerprints.of_run(recipe, parents))
    same = not known or known[-1][1] in (here, same_run.UNKNOWN)
    if not same:
        report.unproved.insert(
            0, f"the training itself: code, settings or versions here are others, {here[:12]} "
            f"and not {known[-1][1][:12]}",
        )  # fmt: skip
    return same


def changed_at(run: Path) -> int:
    """The step at which a continued run last changed settings, code or versions; 0 for never."""
    starts = _history(runs.read_json(run / "run.json"))
    steps = [
        runs.whole_number(one.get("step"))
        for one in starts
        if isinstance(one, dict) and one.get("changes")
    ]
    return max([*steps, *(step for step, _ in same_run.segments(starts))], default=0)


def started_at(run: Path) -> set[int]:
    """Steps at which a run was started or continued."""
    starts = _history(runs.read_json(run / "run.json"))
    return {runs.whole_number(one.get("step")) for one in starts if isinstance(one, dict)}


def tell_parents(run: Path, report: Report) -> bool:
    """Say that parents were not trained again; True if the file of one is gone.

    Args:
        run: the run directory.
        report: list of findings to add to.
    """
    parents, gone = runs.read_json(run / "run.json").get("parents"), False
    for name, facts in parents.items() if isinstance(parents, dict) else ():
        told = facts if isinstance(facts, dict) else {}
        what = f"{told.get('run') or name} (sha256 {str(told.get('sha256'))[:12]})"
        report.unproved.append(f"training of the parent {what}")
        source = recipes.of_run(run).arguments("model").get(name)
        gone |= isinstance(source, str) and Path(source).is_absolute() and not Path(source).exists()
    return gone


def _history(facts: dict[str, Any]) -> list[Any]:
    found = facts.get("history", [])
    return found if isinstance(found, list) else []
