"""Measure a shipped recipe again and write the results into its head.

    python -m tests.measure vae/digits --seeds 5 [--metric test/neg_elbo ...]

The metrics are those of the head that training itself gives, unless others are named. The rest of
the file stays as it is, results of other commands too.
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import platform
import re
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

import genlab
from genlab import recipes
from genlab.errors import RecipeError, nearest
from genlab.files import replacing, text_of
from genlab.recipes import Head, Result, fingerprints

BLOCK = re.compile(r"^measured:.*\n(?:(?:#.*\n|\n)*[ \-].*\n)*", re.M)
NONE = ("", None, ())
DIGITS = 4  # significant ones of a result without a spread

Fit = Callable[[str, int, Path], Mapping[str, Any]]


def fit(name: str, seed: int, folder: Path) -> Mapping[str, Any]:
    """Metrics of a training of a recipe."""
    settings = {"seed_everything": seed, "track.runs": str(folder)}
    return genlab.fit(name, settings).metrics


def measure(name: str, seeds: Sequence[int], metrics: Sequence[str], train: Fit = fit) -> str:
    """Train a recipe with several seeds and write the results into its file.

    Args:
        name: name of a shipped recipe.
        seeds: values of ``seed_everything``.
        metrics: keys of the metrics; empty for those of the head.
        train: function that trains and returns the metrics.

    Returns:
        The results in lines.

    Raises:
        RecipeError: the recipe has no head, or training gives none of the metrics.
    """
    file = recipes.find(name)
    if not recipes.split(text_of(file))[0]:
        raise RecipeError("a recipe without a head cannot be measured", str(file))
    head, before = recipes.head(file), fingerprints.fingerprint(recipes.resolve([name]))
    own = [one.metric for one in head.measured if not one.command]
    wanted = list(metrics) or own or ["test/loss"]
    with tempfile.TemporaryDirectory() as folder:
        found = [train(name, seed, Path(folder)) for seed in seeds]
    _check(file, wanted, found)
    if fingerprints.fingerprint(recipes.resolve([name])) != before:
        raise RecipeError("the recipe or its code has changed while it was measured", str(file))
    results = [_result(head, key, [one[key] for one in found], seeds) for key in wanted]
    _write(file, head, [_stamped(one, before) for one in results])
    return "\n".join(map(str, results))


def _check(file: Path, wanted: Sequence[str], found: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a metric that a training has not given, or not as a finite number."""
    for metric in wanted:
        values = [v for one in found if isinstance(v := one.get(metric), int | float)]
        if len(values) < len(found):
            numbers = [key for key, value in found[0].items() if isinstance(value, int | float)]
            raise RecipeError(f"training gives no {metric}", str(file), nearest(metric, numbers))
        if odd := [value for value in values if not math.isfinite(value)]:
            raise RecipeError(f"training gives {metric} {odd[0]}; nothing is written", str(file))


def _stamped(result: Result, fingerprint: str) -> Result:
    """A result with the day, the machine and what was measured."""
    torch = fingerprints.versions()["torch"]
    return replace(
        result, date=_today(), machine=machine(), torch=torch, fingerprint=fingerprint
    )  # fmt: skip


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def machine() -> str:
    """The kind of this machine's processor, its cores and the threads that training may use."""
    names = re.findall(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.M)
    name = names[0].strip() if names else platform.machine()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return f"{name}, {os.cpu_count()} cores" + (f", OMP_NUM_THREADS={threads}" if threads else "")


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def _result(head: Head, metric: str, values: Sequence[float], seeds: Sequence[int]) -> Result:
    """Mean and standard deviation over seeds, in the unit and with the notes of the head."""
    known = [one for one in head.measured if one.metric == metric]
    old = next((one for one in known if not one.command), Result(metric, 0.0))
    unit = old.unit or next((one.unit for one in known), "")
    scaled = [100 * value if unit == "%" else value for value in values]
    mean, spread = statistics.fmean(scaled), None
    decimals = _decimals(mean, DIGITS)
    if len(scaled) > 1:
        spread = statistics.stdev(scaled)
        decimals = max(0, _decimals(spread, 2)) if spread else decimals
        spread = round(spread, decimals)
    return Result(
        metric, round(mean, decimals), unit, spread, tuple(seeds), notes=old.notes
    )  # fmt: skip


def _decimals(value: float, digits: int) -> int:
    """Decimals of a number that is written with that many significant digits."""
    return digits - 1 - int(f"{value:e}".partition("e")[2])


def _write(file: Path, head: Head, new: list[Result]) -> None:
    """Put results in the place of training's own of the same metrics; all other text stays."""
    fresh = {one.metric: one for one in new}
    kept = [one if one.command else fresh.pop(one.metric, one) for one in head.measured]
    text, (first, _) = text_of(file), recipes.split(text_of(file))
    block = yaml_of([*kept, *fresh.values()])
    changed = BLOCK.sub(lambda _: block, first, count=1)
    if changed == first and not BLOCK.search(first):
        changed = first + block
    with replacing(file) as draft:
        draft.write_text(changed + text[len(first) :], encoding="utf-8")


def yaml_of(results: Sequence[Result]) -> str:
    """The key ``measured`` of a head as YAML, seeds in one line."""
    listed = [
        {
            key: list(of) if key == "seeds" else of
            for key, of in asdict(one).items()
            if of not in NONE
        }
        for one in results
    ]
    form: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "default_flow_style": False}
    text = yaml.safe_dump({"measured": listed}, width=108, **form)
    return re.sub(r"^  seeds:\n((?:  - -?\d+\n)+)", _in_one_line, text, flags=re.M)


def _in_one_line(found: re.Match[str]) -> str:
    return f"  seeds: [{', '.join(re.findall(r'-?[0-9]+$', found[1], re.M))}]\n"


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser("python -m tests.measure", description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--seeds", type=int, default=5, help="number of runs, seeds from 0")
    parser.add_argument("--metric", action="append", default=[], help="key of metrics.json")
    given = parser.parse_args()
    print(measure(given.recipe, range(given.seeds), given.metric))


if __name__ == "__main__":
    main()
