"""Text that commands print: tables of metrics, places of results."""

from __future__ import annotations

import json as json_format
import math
import sys
from pathlib import Path
from typing import Any

from genlab import runs

UNDEFINED = "auroc"  # of images of one class: NaN for a method in good order too


def report(file: Path, figures: dict[str, Any], as_json: bool) -> int:
    """Print metrics as a table or as JSON, with the checkpoint they belong to.

    Returns:
        Exit code: 1 with a line on standard error where metrics are NaN, else 0. AUROC alone may
        be NaN, of images of one class.
    """
    _print(file, figures, as_json)
    wrong = [key for key, value in figures.items() if _is_nan(value)]
    if wrong and all(key.endswith(UNDEFINED) for key in wrong):
        print(f"{', '.join(wrong)} is undefined: all test images are of one class", file=sys.stderr)
        return 0
    if wrong:
        told = ", ".join(wrong[:3]) + (", ..." if len(wrong) > 3 else "")
        print(f"genlab: {len(wrong)} of {len(figures)} metrics are NaN: {told}", file=sys.stderr)
    return int(bool(wrong))


def _is_nan(value: Any) -> bool:
    return value == "nan" or (isinstance(value, float) and math.isnan(value))


def _print(file: Path, figures: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json_format.dumps({"checkpoint": str(file)} | figures, indent=2))
        return
    print(f"checkpoint {file}")
    width = max(map(len, figures), default=0)
    for key, value in figures.items():
        print(
            f"  {key:<{width}}  {value:.6g}"
            if isinstance(value, float)
            else f"  {key:<{width}}  {value}"
        )


def target_of(out: str | None, file: Path, name: str) -> Path:
    """Path of a result: as given, else in the run's ``pictures/``, else next to the checkpoint."""
    return runs.picture(file, name) if out is None else Path(out)
