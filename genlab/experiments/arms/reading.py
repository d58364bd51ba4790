"""Metrics that a study reads of a run: logged ones, probes of its features, judged samples."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genlab import metrics
from genlab.errors import RecipeError, nearest
from genlab.evaluation.feature_quality import features_of
from genlab.evaluation.places import at
from genlab.evaluation.probes import fixed_probe
from genlab.experiments.arms.results import DIVERGED, SECONDS
from genlab.experiments.comparison import Run
from genlab.experiments.measurement import evaluate
from genlab.experiments.studies.table import Probe
from genlab.metrics import Bank, geometry
from genlab.training.building import Lab
from genlab.training.opened import figures_of, open_run

PROBE = Probe()  # the tables' classifiers on frozen features, the same in every study
PROBED = re.compile(r"(val|test)/(knn|rank|linear (?:all|\d+(?:\.\d+)?%?))(?: of (.+))?")
JUDGED = re.compile(r"(?:evaluate|judge)/(.+)")
PARAMETERS = "parameters"


def measure(
    run: Path, names: Sequence[str], options: Mapping[str, Any], needed: Sequence[str] = ()
) -> dict[str, Any]:
    """Metrics of a run that has ended.

    Args:
        run: its run directory.
        names: ``val/loss`` and other logged metrics; ``val/knn``, ``test/linear 1%`` and
            ``test/rank`` of the tables' fixed probe, behind ``of stage 1`` or ``of projector`` of a
            stage of the encoder or a module's output; ``judge/fid`` or ``evaluate/NAME`` of
            ``genlab evaluate``; ``seconds``, ``parameters``, ``diverged``. Of test images only
            what is named is measured.
        options: options of ``genlab evaluate``.
        needed: names that the run must have; others are None where it has none, as MoCo without a
            queue has no key drift. What is not finite, as a rank of collapsed features, is None.

    Raises:
        RecipeError: the run has no such metric.
    """
    trained = Run(run)
    last = {key: points[-1][1] for key, points in trained.curves.items()}
    known: dict[str, Any] = {DIVERGED: 0.0, SECONDS: trained.figures.get("fit_seconds")}
    known |= {k: v for k, v in (last | trained.figures).items() if not _is_aside(k)}
    lab: Lab | None = None
    banks: dict[tuple[str, str], Bank] = {}
    for name in names:
        if name in known:
            continue
        if judged := JUDGED.fullmatch(name):
            found = evaluate(run, **options)
            known |= {f"evaluate/{key}": value for key, value in found.items()} | found
            if (key := name if name in found else judged[1]) in found:
                known[name] = found[key]
            continue
        lab = lab or _opened(run)
        if probed := PROBED.fullmatch(name):
            known[name] = _probe(lab, banks, *probed.groups())
        elif name == PARAMETERS:
            known[name] = sum(p.numel() for p in lab.model.parameters() if p.requires_grad)
        else:
            known |= figures_of(lab, "test" if name.startswith("test/") else "validate")
    for name in needed:
        if name not in known:
            hint = nearest(name, (key for key in known if "/" in key))
            raise RecipeError(f"{name} is not a metric of the run", str(run), hint)
    return {name: _number(known.get(name)) for name in (SECONDS, DIVERGED, *names)}


def _number(value: Any) -> float | None:
    """A metric; None for one that is missing or not finite, as a share of no images is."""
    return float(value) if value is not None and math.isfinite(float(value)) else None


def _is_aside(key: str) -> bool:
    """True for what `genlab evaluate` of other options may have left in the run."""
    return key.startswith(("evaluate/", "judge/", "test/"))


def _opened(run: Path) -> Lab:
    lab = open_run([str(run)], [])[0]
    lab.model.eval()
    return lab


def _probe(
    lab: Lab, banks: dict[tuple[str, str], Bank], split: str, kind: str, place: str | None
) -> float:
    """A classifier on frozen features of the training images, or the features' rank."""
    train, bank = (_bank(lab, banks, name, place or "") for name in ("train", split))
    if kind == "rank":
        return float(geometry.effective_rank(bank.features))
    if kind == "knn":
        knn = metrics.KNN(int(train.label.max()) + 1, min(PROBE.k, len(train.label)))
        knn.set_bank(train)
        knn.update(*bank)
        return float(knn.compute()["knn_top1"])
    given = kind.removeprefix("linear ")
    labels = 1.0 if given == "all" else float(given.rstrip("%")) / (100 if "%" in given else 1)
    return fixed_probe(train, bank, labels, PROBE.strength, PROBE.draws)


def _bank(lab: Lab, banks: dict[tuple[str, str], Bank], split: str, place: str) -> Bank:
    if (split, place) not in banks:
        found = features_of(at(lab.model, place), lab.data, split)
        if found is None:
            raise RecipeError(f"{split} images are missing", str(lab.recipe.name))
        banks[split, place] = found
    return banks[split, place]
