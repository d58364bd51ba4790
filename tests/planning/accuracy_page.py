"""Page that compares plans with trainings; rows that are not made anew stay."""

from __future__ import annotations

import datetime
import platform
import re
from collections.abc import Iterable
from pathlib import Path

import lightning
import torch

PAGE = Path(__file__).parents[2] / "docs/explanation/plan-accuracy.md"
MEMORY, SENT, FORMS = "## Memory and arithmetic", "## Collectives", "## Formulas on paper"
KEY = re.compile(r"\| (`[^`]*`|[^|`]*?) \|")
HEADS = {
    MEMORY: (
        "recipe", "plan, MiB", "real, MiB", "plan/real", "profiler, MiB", "plan/profiler",
        "without scratch", "GFLOP", "FLOPs equal real", "date",
    ),
    SENT: ("recipe", "2: plan", "sent", "equal", "4: plan", "sent", "equal", "date"),
    FORMS: ("network", "formula for an image", "its value, G", "counted, G", "ratio", "date"),
}  # fmt: skip
TEXT = """# Plans against real trainings

`genlab plan` counts a step without values. Here the same steps were taken with values, on a CPU, at
sizes that two cores bear. `python -m tests.planning.accuracy` makes this page, and with names of
recipes, or `formulas`, those rows of it.
Last rows of {date}: {versions}. Nothing here was measured on a GPU.

Every value is of one optimiser step. The real training takes a device's way: the guard against NaN
undoes late, nothing is looked at on the host, autocast has CUDA's types, and optimisers update all
tensors in lists. Batch norm is not synchronised.

{MEMORY}

*Real* is the same count of live tensors in a real training. *Profiler* is the most that torch's
profiler reports as allocated in the second step, with what lives since before. It includes scratch
memory of the CPU's kernels and the loader's batch on the host, which a plan leaves out. *Without
scratch* leaves out what convolutions allocate and free themselves.

{memory}

A training keeps the states of validation's and test's metrics, twice: a reset goes back to the
second. AUROC's bins are 320 KiB for ten classes, twice, a seventh of the peak of `linear/digits`.
That probe also keeps the features of all training and validation images: a plan contains both.
The peak is that of the training step;
validation, of which `genlab plan` has a row of its own, is left out here.

Where views are drawn, the numbers of images of each operation differ from draw to draw, and the
plan takes equal ones.

{SENT}

*Sent* is what each of two and four gloo processes puts into its process group in the third step:
a group that counts stands between PyTorch and gloo. *Equal* compares calls and bytes under each
name.
Flags of stop signals go round after every step here; a long training compares them less often.

{sent}

{FORMS}

A product and its sum are two operations. The way back costs twice the way there, less the gradient
of the images.

{forms}
"""


def line(*cells: str) -> str:
    """A row, with today's date."""
    return f"| {' | '.join((*cells, str(datetime.date.today())))} |"


def rows(text: str) -> dict[str, dict[str, str]]:
    """Rows of each section's table by their first cell."""
    found: dict[str, dict[str, str]] = {section: {} for section in HEADS}
    section = ""
    for one in text.splitlines():
        section = one if one.startswith("## ") else section
        match = KEY.match(one)
        if section in found and match and match[1] != HEADS[section][0]:
            found[section][match[1]] = one
    return found


def merged(text: str, new: dict[str, list[str]], order: dict[str, list[str]]) -> str:
    """A page with new rows in the place of those of the same first cell.

    Args:
        text: page before.
        new: rows of each section.
        order: first cells of each section's rows; others go.
    """
    every = rows(text)
    for section, lines in new.items():
        every[section] |= {KEY.match(one)[1]: one for one in lines}  # type: ignore[index]
    tables = {
        section: _table(section, (found[key] for key in order[section] if key in found))
        for section, found in every.items()
    }
    python = f"Python {platform.python_version()} on {platform.machine()}"
    return TEXT.format(
        date=datetime.date.today(),
        versions=f"torch {torch.__version__}, Lightning {lightning.__version__}, {python}",
        MEMORY=MEMORY, SENT=SENT, FORMS=FORMS,
        memory=tables[MEMORY], sent=tables[SENT], forms=tables[FORMS],
    )  # fmt: skip


def _table(section: str, lines: Iterable[str]) -> str:
    head = HEADS[section]
    return "\n".join((f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines))
