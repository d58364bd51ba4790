"""Splits, labels and test metrics of a finished run, derived again from its data and weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from genlab import runs
from genlab.checkpoints import read
from genlab.errors import InputError, first_line
from genlab.internals import lightning_parts
from genlab.training import changes
from genlab.training.fitting import has_test
from genlab.training.proof.files import ENDS
from genlab.training.proof.report import Report
from genlab.training.proof.retraining import lab_of
from genlab.training.record import finite

CLOSE = 0.01  # relative difference of a metric that another machine may give


def check(run: Path, report: Report, folder: Path, exact: bool) -> None:
    """Compare splits, labels and test metrics with those of the run.

    Args:
        run: the run directory.
        report: list of findings to add to.
        folder: place for what the test writes.
        exact: True if metrics must have the same bits.
    """
    final = runs.read_json(run / "metrics.json")
    name = final.get("test_checkpoint") or "last.ckpt"
    file = run / "checkpoints" / str(name)
    if name not in ENDS:
        report.refuse(f"metrics.json: test_checkpoint is {name}, neither best.ckpt nor last.ckpt")
        return
    if not file.is_file():
        report.refuse(f"checkpoints/{name} is missing")
        return
    try:
        _compare(run, report, folder, exact, file, final)
    except (InputError, RuntimeError, OSError) as error:
        report.refuse(f"{first_line(error)}")


def _compare(
    run: Path, report: Report, folder: Path, exact: bool, file: Path, final: dict[str, Any]
) -> None:
    lab, before = lab_of(run, file, folder), len(report.faults)
    lightning_parts.set_loggers(lab.trainer, [])
    lab.data.trainer = lab.trainer
    lab.data.prepare_data()
    lab.data.setup("fit")
    stamp = read(file).get("genlab")
    try:
        changes.refuse_other_data(lab, run, [], stamp if isinstance(stamp, dict) else {})
        _check_kept(lab, run, report)
    except InputError as error:
        report.refuse(first_line(error))
    report.show("splits and labels follow from the data and the seed", before)
    told = {k: v for k, v in final.items() if k.startswith("test/")}
    if not told:
        report.unproved.append("there are no test metrics in metrics.json")
        return
    before = len(report.faults)
    if not has_test(lab):
        report.refuse(f"metrics.json: {min(told)} is no metric of its method")
        return
    lab.trainer.test(
        lab.model, datamodule=lab.data, ckpt_path=file, weights_only=True, verbose=False
    )
    found = {k: float(v) for k, v in lab.trainer.callback_metrics.items() if k.startswith("test/")}
    for key in sorted(told.keys() | found.keys()):
        if not _same(told.get(key), found.get(key), exact):
            report.refuse(
                f"metrics.json: {key} is {told.get(key)}, {file.name} gives {found.get(key)}"
            )
    report.show(f"{len(told)} test metrics are those of {file.name}", before)


def _check_kept(lab: Any, run: Path, report: Report) -> None:
    """Refuse a record of splits or labels that is not there, or damaged."""
    if getattr(lab.data, "splits", None) is not None and not changes.old_splits(run):
        report.refuse("splits.npz is missing or damaged")
    if getattr(lab.data, "label_record", None) and not runs.read_json(run / "labels.json"):
        report.refuse("labels.json is missing or damaged")


def _same(told: Any, found: float | None, exact: bool) -> bool:
    if exact or not isinstance(told, int | float) or found is None:
        return bool(told == finite(found))
    return math.isclose(told, found, rel_tol=CLOSE, abs_tol=CLOSE)
