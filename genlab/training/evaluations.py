"""Metrics measured after training, kept in the run that they are of.

Each evaluation is a file of its own in ``evaluations/``, which nothing replaces. ``metrics.json``
shows the latest value of each metric under ``evaluate/``: of the selected checkpoint, on the run's
own data and with its own settings. An evaluation holds the checksum of its checkpoint, which is
compared whenever metrics.json is written: no metric outlives its checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import checkpoints, process, recipes, runs
from genlab.checkpoints.identity import digest
from genlab.errors import InputError, first_line, reason
from genlab.files import shown_path, step_of
from genlab.training.record import versions
from genlab.training.tracking import after

if TYPE_CHECKING:
    from genlab.training.building import Lab

FOLDER = "evaluations"
PREFIX = "evaluate/"
# typed settings that do not make other metrics: data are compared by what they mean
FREE = ("data", "track", "trainer.accelerator", "trainer.devices")
INCEPTION = "6726825d"  # first digits of the checksum of the weights of published FIDs
DIGITS = 6  # of a checksum in the names of metrics


def keep(
    lab: Lab,
    file: Path,
    words: Sequence[str],
    metrics: Mapping[str, Any],
    judge: Mapping[str, Any] | None = None,
) -> Path | None:
    """Write an evaluation into the run of its checkpoint; one line says where, or why not.

    Args:
        lab: the run opened.
        file: the checkpoint that was measured.
        words: the command: its name, then its arguments.
        metrics: metrics by their log keys.
        judge: ``name`` and ``source`` of the feature extractor, and its `checkpoints.identify`.

    Logs:
        evaluate/<metric> (that of the metric): latest value by genlab evaluate or test for
            the selected checkpoint, in metrics.json: of test/<metric>, or of judge/<metric> with
            the first digits of the checksum behind the network's name.
        evaluate/judge_<features> (description): network of this name: its run, file and checksum.
        evaluate/step (steps): optimiser steps of the checkpoint of these metrics.

    Returns:
        The file in ``evaluations/``; None where none was written.
    """
    if not process.is_first():
        return None
    run = file.absolute().parent.parent
    if not runs.is_run(run):
        process.note(f"{shown_path(file)} lies in no run: these metrics are not kept")
        return None
    content = _content(lab, run, file, words, metrics) | {"judge": dict(judge) if judge else None}
    try:
        return _write(run, content, _wandb_is_off(lab))
    except (OSError, InputError) as error:
        what = reason(error) if isinstance(error, OSError) else first_line(error)
        process.note(f"these metrics are not kept in {shown_path(run)}: {what}")
        return None


def _content(
    lab: Lab, run: Path, file: Path, words: Sequence[str], metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """What a file in ``evaluations/`` says, but for the feature extractor."""
    return {
        "kind": words[0],
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": recipes.without_credentials(list(words)),
        "checkpoint": str(file.absolute().relative_to(run)),
        "sha256": digest(file),
        "step": step_of(file),
        "data": recipes.described(lab.recipe.config["data"]),
        "others": _foreign(lab, run),
        "metrics": dict(metrics),
        "device": str(lab.trainer.strategy.root_device),
        "versions": versions(),
    }


def _foreign(lab: Lab, run: Path) -> str:
    """Why metrics are not those of the run itself; empty if they are."""
    origins = lab.recipe.origins
    typed = [key for key, origin in origins.items() if origin == recipes.COMMAND_LINE]
    groups = {key.rpartition(".")[0] for key in origins} | {"model.init_args"}
    changed = [key for key in typed if key not in groups and not key.startswith(FREE)]
    if changed:
        return f"with another {changed[0].replace('.init_args', '')}"
    try:
        own = recipes.files.read(run / "recipe.yaml").get("data")
    except InputError:
        return "beside a damaged recipe.yaml"
    if not isinstance(own, dict) or not recipes.same_parts(own, lab.recipe.config["data"]):
        return "on other data"
    return ""


def _wandb_is_off(lab: Lab) -> bool:
    typed = lab.recipe.origins.get("track.wandb") == recipes.COMMAND_LINE
    return typed and lab.tracking.wandb == "off"


def _write(run: Path, content: dict[str, Any], alone: bool) -> Path:
    """Write an evaluation, then what shows it; W&B is left ``alone`` on request."""
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    now = time.time()
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}.{int(now % 1 * 1000):03d}"
    file = folder / f"{name}-{content['kind']}.json"
    runs.write_json(file, content)
    former = runs.read_json(run / "metrics.json")
    process.note(f"kept in {shown_path(file)}{_show(run, content)}")
    final = runs.read_json(run / "metrics.json")
    if final != former and not alone:
        after.tell(run, former, final, content["judge"])
    return file


def _show(run: Path, content: dict[str, Any]) -> str:
    """Bring metrics.json up to date; returns why these metrics are not in it, for a message."""
    if content["others"]:
        return f" only: measured {content['others']}"
    if content["kind"] == "validate":
        return ""
    final = runs.read_json(run / "metrics.json")
    if not final or runs.held(run):
        return "; metrics.json has them when training has ended, if this checkpoint is selected"
    if content["sha256"] != digest(runs.checkpoint(run)):
        return " only: the run's selected checkpoint is another"
    with runs.lock(run):
        final = runs.read_json(run / "metrics.json")
        runs.write_json(run / "metrics.json", own(final) | latest(run))
    return ""


def still(run: Path) -> dict[str, Any]:
    """Metrics for the metrics.json of a training that ends; says whether it drops some.

    Those of a checkpoint that is no longer the selected one stay in their files only.
    """
    found = latest(run)
    former = runs.read_json(run / "metrics.json").get(f"{PREFIX}step")
    if former is not None and not found:
        process.note(
            f"metrics of genlab evaluate are of step {former}, which is no longer selected: "
            f"metrics.json leaves them to {FOLDER}/"
        )
    return found


def own(final: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a metrics.json that the training itself has written."""
    return {key: value for key, value in final.items() if not key.startswith(PREFIX)}


def latest(run: Path) -> dict[str, Any]:
    """Metrics under ``evaluate/`` of a run's selected checkpoint, the latest value of each.

    Returns:
        Empty where nothing was measured, or where all that was is of other checkpoints.
    """
    found: dict[str, Any] = {}
    kept = [runs.read_json(file) for file in sorted((run / FOLDER).glob("*.json"))]
    kept = [one for one in kept if not one.get("others") and one.get("kind") != "validate"]
    if not kept:
        return {}
    selected = digest(runs.checkpoint(run))
    for one in kept:
        with suppress(AttributeError, KeyError, TypeError, ValueError):  # edited by hand
            if one["sha256"] == selected:
                found |= _named(one["metrics"], one["judge"]) | {f"{PREFIX}step": one["step"]}
    return found


def _named(metrics: dict[str, Any], judge: Any) -> dict[str, Any]:
    """Numbers by their names under ``evaluate/``, with the feature extractor's checksum."""
    facts = judge if isinstance(judge, dict) and isinstance(judge.get("name"), str) else {}
    name, tag = facts.get("name", ""), judge_tag(facts)
    found: dict[str, Any] = {}
    for key, value in metrics.items():
        split, _, noun = key.partition("/")
        if not _is_number(value) or noun.startswith("network_"):  # the latter: facts of the network
            continue
        if split == "judge":
            parts = noun.partition(f"_{name}")
            noun = f"{parts[0]}_{tag}{parts[2]}"
        found[f"{PREFIX}{noun}"] = value
    if facts:
        found[f"{PREFIX}judge_{tag}"] = checkpoints.in_words(facts)
    return found


def judge_tag(facts: Mapping[str, Any]) -> str:
    """Name of a feature extractor in the names of metrics: other weights have another name.

    The Inception network of published results, and pretrained weights that their name defines,
    need no checksum in it.
    """
    name, checksum = str(facts.get("name", "")), str(facts.get("sha256", ""))
    return f"{name}_{checksum[:DIGITS]}" if checksum and checksum[:8] != INCEPTION else name


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number or value in ("nan", "inf", "-inf")
