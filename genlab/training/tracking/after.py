"""Metrics measured after training, for the run's W&B run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genlab import recipes, runs
from genlab.training.parsing import parse
from genlab.training.provenance import code
from genlab.training.tracking.settings import Tracking
from genlab.training.tracking.wandb_run import WandbRun, reason, say


def tell(
    run: Path, former: Mapping[str, Any], final: Mapping[str, Any], judge: Mapping[str, Any] | None
) -> None:
    """Open a finished run's W&B run again, and put the metrics into its summary.

    Offline this is one more part of the same W&B run. Nothing happens where W&B does not know the
    run; whatever goes wrong is reported in a line and ends nothing.

    Args:
        run: the run directory.
        former: content of metrics.json before.
        final: content of metrics.json.
        judge: identity of a feature extractor that measured samples.
    """
    if not any(run.glob("wandb/*run-*")):
        return
    try:
        recipe = recipes.of_run(run)
        given = parse(Tracking, "track", recipe.config.get("track") or {}, recipe)
        tracking, facts = Tracking(**given.made()), runs.read_json(run / "run.json")
        if not tracking.uses_wandb() or _is_in_use():
            return
        name = str(facts.get("recipe") or run.parent.name)
        public = code.without_files({"history": []} | facts)
        logger = tracking.wandb_run(run, name, recipe.config | {"run": public})
    except Exception as error:  # W&B's errors have no common base; a recipe can be damaged
        say(f"W&B is not told: {reason(error)}")
        return
    if isinstance(logger, WandbRun):
        if judge:
            logger.use(judge)
        logger.conclude(final, former)
        logger.close()


def _is_in_use() -> bool:
    """True if this program has a W&B run of its own, as a notebook may."""
    import wandb

    return wandb.run is not None
