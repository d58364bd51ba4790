"""Metrics in metrics.json compared with the files that they follow from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from genlab import runs
from genlab.checkpoints import state
from genlab.errors import InputError, first_line
from genlab.files import rows_of
from genlab.training import evaluations
from genlab.training.proof.report import Report
from genlab.training.record import MEASURED, finite, last_validation

COUNTS = ("step", "epoch", "test_checkpoint", *MEASURED)  # compared elsewhere, or a clock's


def check(run: Path, contents: Mapping[str, Mapping[str, Any]], report: Report) -> None:
    """Compare metrics.json with metrics.csv, the selected checkpoint and evaluations.

    Args:
        run: the run directory.
        contents: its end states by their names.
        report: list of findings to add to.
    """
    final = runs.read_json(run / "metrics.json")
    try:
        rows, last = rows_of(run / "metrics.csv"), last_validation(run)
    except InputError as error:
        report.refuse(first_line(error))
        return
    best = best_of(contents.get("best.ckpt") or contents.get("last.ckpt") or {})
    _check_best(best, rows, report)
    told = {f"best/{k}": v for k, v in validated(best).items()}
    told |= {f"best/{key}": best[key] for key in ("step", "epoch") if key in best}
    _compare(final, last, "metrics.csv", report)
    _compare(final, told, "best.ckpt", report)
    _check_evaluations(run, final, report)
    columns = {key for row in rows for key, value in row.items() if value}
    for key in sorted(final.keys() - last.keys() - told.keys() - {*COUNTS}):
        if key.startswith(("test/", evaluations.PREFIX)):
            continue
        if key.startswith("train/"):
            report.unproved.append(f"metrics.json: {key}")
        elif key.startswith(("val/", "best/")) or key not in columns:
            report.refuse(f"metrics.json: {key} is told by no other file of the run")


def best_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Step, score and metrics of the selected state, as a checkpoint has them."""
    states = content.get("callbacks", {})
    kept = [v for k, v in states.items() if str(k).startswith(state.KEEPER)]
    found = kept[0].get("best") if kept and isinstance(kept[0], dict) else None
    return found if isinstance(found, dict) else {}


def validated(best: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics of the validation that selected a state."""
    metrics = best.get("metrics")
    found = metrics if isinstance(metrics, dict) else {}
    return {key: value for key, value in found.items() if key.startswith("val/")}


def _compare(final: dict[str, Any], told: Mapping[str, Any], source: str, report: Report) -> None:
    for key, value in told.items():
        if not _close(final.get(key), value):  # rounded otherwise
            report.refuse(f"metrics.json: {key} is {final.get(key)}, {source} says {value}")


def _check_best(best: dict[str, Any], rows: list[dict[str, str]], report: Report) -> None:
    """Compare the metrics of the selected state with the rows up to its step."""
    step, found = runs.whole_number(best.get("step")), dict[str, float]()
    for row in rows:
        if row["step"].isdecimal() and int(row["step"]) < step:
            for key, value in row.items():
                with suppress(ValueError):  # empty
                    found |= {key: float(value)} if key.startswith("val/") else {}
    for key, value in validated(best).items():
        if key not in found or not _close(finite(value), found[key]):
            report.refuse(f"best.ckpt: {key} is {value}, metrics.csv says {found.get(key)}")
    if best and best.get("score") not in best.get("metrics", {}).values():
        report.refuse(f"best.ckpt: its score {best.get('score')} is none of its metrics")


def _check_evaluations(run: Path, final: dict[str, Any], report: Report) -> None:
    later = {k: v for k, v in final.items() if k.startswith(evaluations.PREFIX)}
    if not later:
        return
    kept = dict[str, Any]()
    with suppress(InputError, OSError):
        kept = evaluations.latest(run)
    for key, value in sorted(later.items()):
        if key not in kept or kept[key] != value:
            report.refuse(f"metrics.json: {key} is {value}, {evaluations.FOLDER}/ says otherwise")
    report.unproved.append(f"{evaluations.PREFIX}* in metrics.json: they were not measured again")


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-6)
    return bool(one == finite(other))
