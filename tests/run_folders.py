"""Run directories with metrics that can be checked by hand, without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genlab import runs


def write_run(
    path: Path,
    *,
    seed: int,
    lr: float,
    value: float | str,
    finished: bool = True,
    steps: tuple[int, ...] = (0, 9, 19),
    kind: str = "Classifier",
    monitor: str = "val/loss",
    **extra: Any,
) -> Path:
    """A run directory whose ``val/loss`` falls linearly to ``value`` at its last step."""
    runs.make(path)
    arguments = ", ".join(f"{k}: {v}" for k, v in {"optimizer": f"{{lr: {lr}}}", **extra}.items())
    (path / "recipe.yaml").write_text(
        f"seed_everything: {seed}\n"
        f"model: {{class_path: genlab.methods.x.{kind}, init_args: {{{arguments}}}}}\n"
        "data: {class_path: genlab.data.digits.Digits, init_args: {batch_size: 8}}\n"
        f"trainer: {{max_epochs: 2}}\ncheckpoint: {{monitor: {monitor}, mode: min}}\n"
        f"track: {{runs: runs, group: {path.name}}}\n"
    )
    recipe = path.parent.relative_to(path.parents[2]).as_posix()
    runs.write_json(path / "run.json", {"recipe": recipe, "seed": seed, "started": path.name})
    last = float(value)
    rows = [f"{step},{last + steps[-1] - step},{1.0 + step}" for step in steps]
    (path / "metrics.csv").write_text("\n".join(["step,val/loss,train/loss", *rows]) + "\n9,1")
    if finished:
        final = {"step": steps[-1] + 1, "val/loss": value, "best/val/loss": value}
        runs.write_json(path / "metrics.json", final)
    return path
