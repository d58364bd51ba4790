"""Metrics and curves that a comparison of runs shows unless others are asked for. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from genlab.experiments.comparison import MEASURED, Run

MOST_FIGURES, MOST_PANELS, MOST_MEASURED = 6, 4, 4
MAIN = ("linear_top1", "knn_top1", "accuracy")  # of `genlab evaluate`, after a judge's


def usual_metrics(found: Sequence[Run], selected: str) -> list[str]:
    """The selecting metric, then those of the test set, then others of the last epoch."""
    seen = list(dict.fromkeys(key for run in found for key in run.figures))
    noun = selected.split("/")[-1]
    nouns = [key.split("/")[-1] for key in seen if key.startswith(("val/", "test/"))]
    nouns = sorted(dict.fromkeys(nouns), key=lambda one: one != noun)  # the selecting one first
    kinds = ("val", "best/val", "test")
    ordered = [f"{kind}/{one}" for one in nouns for kind in kinds]
    first = [f"{kind}/{noun}" for kind in kinds]
    tested = [key for key in ordered if key.startswith("test/")]
    tested.sort(key=lambda key: key.replace("test/", "val/") in seen)  # those it alone has first
    usual = [key for key in dict.fromkeys([*first, *tested, *ordered]) if key in seen]
    usual = usual[:MOST_FIGURES]
    usual += _measured(found, seen, {key.split("/")[-1] for key in usual})
    return usual or [key for key in seen if key.startswith("train/")][:1]


def usual_curves(found: Sequence[Run], selected: str, asked: Sequence[str]) -> list[str]:
    """Metrics whose curves are drawn: those that were asked for, else the first of each kind."""
    seen = list(dict.fromkeys(key for run in found for key in run.curves))
    if asked:
        return [key.removeprefix("best/") for key in asked if key.removeprefix("best/") in seen]
    extra = [key for key in seen if key.startswith("val/") and key != selected]
    wanted = ["train/loss", selected, "val/accuracy", "val/knn_top1", *extra]
    return [key for key in dict.fromkeys(wanted) if key in seen][:MOST_PANELS]


def _measured(found: Sequence[Run], seen: Sequence[str], known: set[str]) -> list[str]:
    """The main metrics of `genlab evaluate` that the columns do not have already."""
    nouns = {key: key.removeprefix(MEASURED) for key in seen if key.startswith(MEASURED)}
    judged = [key for key, noun in nouns.items() if any(run.judge(key) for run in found)
              and noun.startswith("fid_") and not noun.endswith("_floor")]  # fmt: skip
    others = [key for one in MAIN if (key := f"{MEASURED}{one}") in nouns and one not in known]
    return [*judged, *others][:MOST_MEASURED]
