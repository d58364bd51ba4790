"""Comparison of runs: selection, differing settings, means over seeds. Imports no torch."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from genlab import recipes, runs
from genlab.errors import InputError, RunError, first_line
from genlab.files import rows_of
from genlab.recipes.files import read
from genlab.runs.finding import meant, names
from genlab.runs.rows import judge_of, judges, numbers, state_of, step_before_end
from genlab.runs.settings import flat, shown

MISSING = "-"  # what a run that lacks a setting shows
NAMED = 3  # settings in the name of a group at most, unless it takes more to tell groups apart
MEASURED = "evaluate/"  # begins the names of what `genlab evaluate` has measured
ASIDE = ("track.", "seed_everything")  # where a run is kept and its seed do not change what it is


@dataclass
class Run:
    """One run directory, read."""

    path: Path

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting but the seed as ``model.lr: 0.001``; classes as ``model: VAE``."""
        return {k: v for k, v in flat(self._recipe).items() if not k.startswith(ASIDE)}

    @cached_property
    def seed(self) -> int:
        """The seed."""
        written = self._recipe.get("seed_everything")
        return runs.whole_number(written or self.facts.get("seed"))

    @cached_property
    def recipe(self) -> str:
        """The name of the recipe that it is a run of."""
        return str(self.facts.get("recipe") or self.path.parent.name)

    @cached_property
    def monitor(self) -> tuple[str, str]:
        """The metric that selects the checkpoint, empty for none, and ``min`` or ``max``."""
        group = self._recipe.get("checkpoint")
        group = group if isinstance(group, dict) else {}
        return str(group.get("monitor", "val/loss") or ""), str(group.get("mode", "min"))

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The content of run.json."""
        return runs.read_json(self.path / "run.json")

    @cached_property
    def state(self) -> str:
        """The registry's: ``running``, ``done``, ``stopped``, ``failed`` or ``stale``."""
        newest = next(iter(runs.checkpoints(self.path)), None)
        return state_of(runs.held(self.path), self.facts, self._final, self._last, newest)

    @cached_property
    def step(self) -> int:
        """Steps done; before the end those of the newest checkpoint."""
        if self.state == "done":
            return runs.whole_number(self._final.get("step"))
        newest = next(iter(runs.checkpoints(self.path)), None)
        return step_before_end(newest, self._last + 1, self.state == "running")

    @cached_property
    def _last(self) -> int:
        """The last step in metrics.csv, as it counts them: from 0."""
        return max((step for points in self.curves.values() for step, _ in points), default=-1)

    @cached_property
    def figures(self) -> dict[str, float]:
        """Final metrics; for a run that is not finished, the last ones written."""
        final = numbers(self._final)
        if self.state == "done":
            return final
        measured = {key: value for key, value in final.items() if key.startswith(MEASURED)}
        return {key: points[-1][1] for key, points in self.curves.items()} | measured

    def judge(self, metric: str) -> str:
        """The weights of the feature extractor behind a metric; empty where it has none."""
        return judge_of(metric, judges(self._final))

    @cached_property
    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """Per metric, (step, value) in the order of metrics.csv; a torn last row is left out."""
        file = self.path / "metrics.csv"
        found: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for line, row in enumerate(rows_of(file), 2):
            step = row.pop("step")
            for key, value in row.items():
                try:
                    if value and step:
                        found[key].append((int(step), float(value)))
                except ValueError:
                    what = f"{value[:40]!r} at step {step[:40]!r} is not a figure"
                    raise RunError(f"{file}, line {line}: {key} {what}") from None
        return dict(found)

    @cached_property
    def damage(self) -> str:
        """The reason why the run's files cannot be read; empty if they can."""
        try:
            _ = self.settings, self.monitor, self.figures
        except (InputError, OSError) as error:
            said = first_line(error)
            return said if str(self.path) in said else f"{self.path / 'recipe.yaml'}: {said}"
        return ""

    @cached_property
    def _final(self) -> dict[str, Any]:
        return runs.read_json(self.path / "metrics.json")

    @cached_property
    def _recipe(self) -> dict[str, Any]:
        return read(self.path / "recipe.yaml")


@dataclass
class Group:
    """Runs that are one experiment: equal in all but the seed."""

    runs: list[Run]
    settings: dict[str, Any] = field(default_factory=dict)  # those that differ between groups
    name: str = ""  # what tells it from the other groups, in few words

    @property
    def label(self) -> str:
        """The id of its first run that counts, and the number of the others."""
        return self.counted[0].path.name + (f" +{len(self.runs) - 1}" if self.runs[1:] else "")

    @property
    def counted(self) -> list[Run]:
        """The finished runs, or all of a group in which none has finished yet."""
        return [run for run in self.runs if run.state == "done"] or self.runs

    def summary(self, metric: str) -> dict[str, Any]:
        """Mean, standard deviation (n - 1; None of one run) and the values of a metric."""
        values = [run.figures[metric] for run in self.counted if metric in run.figures]
        finite = [value for value in values if math.isfinite(value)]
        return {
            "mean": mean(finite) if finite else None,
            "sd": stdev(finite) if len(finite) > 1 else None,
            "n": len(finite),
            "not_finite": len(values) - len(finite),
            "values": [value if math.isfinite(value) else str(value) for value in values],
        }


def chosen(words: Sequence[str], root: str | Path = "runs") -> list[Run]:
    """The runs selected by arguments, each once, oldest first.

    Args:
        words: run directories, run ids, names of recipes or methods (all runs of it), a sweep's
            name or its folder, a job array's name (``slurm-JOB``), or patterns of any of them.
        root: folder of all run directories.

    Raises:
        RunError: an argument that selects none.
    """
    known = [name for name, is_one in names(str(root)) if is_one]
    found: dict[Path, None] = {}
    for word in words:
        selected = meant(word, known, root) or meant(f"{word}/*", known, root)
        if not selected:
            recipes.refuse_untrained(word, root)
            selected = [runs.find(word, root)]
        found |= dict.fromkeys(path.absolute() for path in selected)
    return [Run(path) for path in sorted(found, key=_age)]


def _age(run: Path) -> tuple[str, str]:
    return str(runs.read_json(run / "run.json").get("started", "")), run.name


def differing(found: Sequence[Run]) -> list[str]:
    """The settings in which runs differ, in the order of their recipes.

    A setting that one class has and another lacks does not count as a difference; the class does.
    """
    keys = dict.fromkeys(key for run in found for key in run.settings)
    differ = []
    for key in keys:
        owner = key.split(".")[0]
        same_class = len({shown(run.settings.get(owner)) for run in found}) == 1
        holders = [run for run in found if same_class or key in run.settings]
        if len({repr(run.settings.get(key, MISSING)) for run in holders}) > 1:
            differ.append(key)
    return differ


def grouped(found: Sequence[Run], by: Sequence[str] = ()) -> tuple[list[Group], list[Run]]:
    """Runs gathered over seeds, and those left out as repetitions of another with the same seed.

    Args:
        found: the runs.
        by: settings to gather by instead: all that agree in them are one group.
    """
    keys = differing(found)
    same: dict[str, dict[int, Run]] = defaultdict(dict)
    twice: list[Run] = []
    for run in found:
        seeds = same[repr((run.recipe, run.settings))]
        old = seeds.get(run.seed)
        if old and (run.state == "done" or old.state != "done"):
            twice.append(old)
        elif old:
            twice.append(run)
            continue
        seeds[run.seed] = run
    gathered: dict[str, Group] = {}
    for one in same.values():
        for run in one.values():
            settings = {key: run.settings.get(key, MISSING) for key in by or keys}
            if not by and len({other.recipe for other in found}) > 1:
                settings = {"recipe": run.recipe} | settings
            gathered.setdefault(repr(settings), Group([], settings)).runs.append(run)
    _name(list(gathered.values()))
    return list(gathered.values()), twice


def each(found: Sequence[Run]) -> list[Group]:
    """A group for every run, with its seed among the settings where seeds differ."""
    keys = differing(found)
    groups = []
    for run in found:
        settings = {key: run.settings.get(key, MISSING) for key in keys}
        if len({other.recipe for other in found}) > 1:
            settings = {"recipe": run.recipe} | settings
        if len({other.seed for other in found}) > 1:
            settings["seed"] = run.seed
        groups.append(Group([run], settings, run.path.name))
    return groups


def _name(groups: Sequence[Group]) -> None:
    """Names such as ``lr=0.001, latent_dim=8``: all settings that differ.

    Of more than `NAMED`, the first that tell all groups apart, and the group's first run.
    """
    longest = max(len(group.settings) for group in groups)
    for count in range(min(NAMED, longest), longest + 1):
        for group in groups:
            pairs = list(group.settings.items())[:count]
            words = [v if k == "recipe" else f"{_last(k)}={shown(v)}" for k, v in pairs]
            group.name = ", ".join(words)
        if longest and len({group.name for group in groups}) == len(groups):
            for group in groups if count < longest else ():
                group.name = f"{group.name} ... ({group.label})"
            return
    for group in groups:  # their difference is too long to be shown
        group.name = f"{group.name} ({group.label})" if longest else group.runs[0].recipe


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def ranked(groups: Iterable[Group], metric: str, mode: str) -> list[Group]:
    """Groups from best to worst; those without a finite value last."""
    sign = -1 if mode == "max" else 1

    def worth(group: Group) -> tuple[bool, float]:
        value = group.summary(metric)["mean"]
        finished = any(run.state == "done" for run in group.runs)
        return value is None or not finished, sign * (value or 0.0)

    return sorted(groups, key=worth)
