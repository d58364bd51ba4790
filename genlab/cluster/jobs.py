"""A user's genlab jobs: Slurm's account of them joined to that of their run directories."""

from __future__ import annotations

import csv
import getpass
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genlab import runs
from genlab.cluster import slurm

FIELDS = {
    "JobArrayID": 40, "Name": 120, "State": 20, "Reason": 60, "TimeUsed": 20, "TimeLimit": 20,
    "NumNodes": 10, "WorkDir": 1000, "STDOUT": 1000,
}  # fmt: skip
TAIL = 200_000  # bytes of metrics.csv that are read


@dataclass
class Row:
    """One job; ``step`` and the fields after it are None before the first line of metrics.csv."""

    job: str
    recipe: str
    state: str
    reason: str
    used: str
    limit: str
    nodes: str
    log: str
    run: str | None = None
    step: int | None = None
    images_per_second: float | None = None
    metric: str | None = None
    value: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The job as a dictionary for JSON."""
        return asdict(self)


def jobs() -> list[Row]:
    """This user's genlab jobs in the queue, and those that Slurm still remembers.

    Raises:
        SlurmError: no squeue, or it does not answer.
    """
    return [_row(cell) for cell in listed(FIELDS, f"--user={getpass.getuser()}")]


def listed(fields: dict[str, int], *words: str) -> list[dict[str, str]]:
    """Genlab's jobs as squeue lists them, each array task apart, those that have ended too.

    Args:
        fields: squeue's names with a width each.
        words: options that select jobs.

    Raises:
        SlurmError: no squeue, or it does not answer.
    """
    form = ",".join(f"{name}:{width}" for name, width in fields.items())
    common = ("squeue", "--noheader", "--array", "--states=all")
    lines = slurm.run(*common, *words, f"--Format={form}").splitlines()
    cells = [_split(line, fields) for line in lines]
    return [cell for cell in cells if re.match(r"genlab(:|$)", cell["Name"])]


def _split(line: str, fields: dict[str, int]) -> dict[str, str]:
    found, start = {}, 0
    for name, width in fields.items():
        found[name] = line[start : start + width].strip()
        start += width
    return found


def log_of(cell: dict[str, str]) -> Path:
    """A job's log, where its run is going to be, too."""
    array, _, task = cell["JobArrayID"].partition("_")
    log = Path(cell["STDOUT"])
    for mark, number in (("%j", cell["JobArrayID"]), ("%A", array), ("%a", task)):
        log = log.with_name(log.name.replace(mark, number))
    return log


def _row(cell: dict[str, str]) -> Row:
    identity, log = cell["JobArrayID"], log_of(cell)
    recipe = cell["Name"].partition(":")[2]
    row = Row(
        identity, recipe, cell["State"], cell["Reason"].replace("None", ""), cell["TimeUsed"],
        cell["TimeLimit"], cell["NumNodes"], str(log),
    )  # fmt: skip
    run = _run_of(identity, log, Path(cell["WorkDir"]))
    if run is not None:
        row.run = str(run)
        row.recipe = recipe or str(runs.read_json(run / "run.json").get("recipe", ""))
        row.step, row.images_per_second, row.metric, row.value = progress(run)
    return row


def _run_of(job: str, log: Path, place: Path) -> Path | None:
    """The job's run directory: next to its log, else below ``runs`` of its working directory."""
    folders = [log.parent, *(file.parent.parent for file in place.glob("runs/**/recipe.yaml"))]
    found = [folder / f"slurm-{job}" for folder in folders]
    whole = [run for run in found if runs.is_run(run)]
    if whole:
        return whole[0]
    for folder in dict.fromkeys(folders):  # a run that a sweep has named
        for facts in folder.glob("*/run.json"):
            slurm = runs.read_json(facts).get("slurm")
            if isinstance(slurm, dict) and _job_in(slurm) == job:
                return facts.parent
    return None


def _job_in(facts: dict[str, str]) -> str | None:
    array, task = facts.get("SLURM_ARRAY_JOB_ID"), facts.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else facts.get("SLURM_JOB_ID")


def progress(run: Path) -> tuple[int | None, float | None, str | None, float | None]:
    """Step, images/s, and name and value of the latest validation (else training) metric."""
    rows = [row for row in _tail(run / "metrics.csv") if not _of_test(row)]
    if not rows:
        return None, None, None, None
    latest = {k: v for row in rows for k, v in row.items() if v}
    rate = latest.get("train/images_per_second")
    names = [*(k for k in latest if k.startswith("val/")), "train/loss"]
    name = next((k for k in ("val/loss", *names) if k in latest), None)
    return (
        int(latest["step"]) + 1,
        float(rate) if rate else None,
        name,
        float(latest[name]) if name else None,
    )


def _of_test(row: dict[str, str]) -> bool:
    """True if the row was written after training, when steps are no longer counted from 0."""
    return any(value for name, value in row.items() if name.startswith("test/"))


def _tail(file: Path) -> list[dict[str, str]]:
    """The last complete rows of a CSV file."""
    try:
        with file.open("rb") as stream:
            head = stream.readline().decode()
            stream.seek(max(len(head.encode()), file.stat().st_size - TAIL))
            lines = stream.read().decode(errors="replace").split("\n")[:-1]
    except (OSError, ValueError):
        return []
    columns = next(csv.reader([head]), [])
    rows = [dict(zip(columns, cells, strict=False)) for cells in csv.reader(lines)
            if len(cells) == len(columns)]  # fmt: skip
    return [row for row in rows if row["step"].isdigit()]
