"""Hashes of a finished run's files, and of the states in its last and selected checkpoint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from genlab import runs
from genlab.checkpoints import read, state
from genlab.training.engine.links import BOOK, FOLDER, SEAL

SEALED = ("recipe.yaml", "splits.npz", "labels.json", "metrics.csv", "checkpoints/*.ckpt",
          f"{FOLDER}/step-*.ckpt", f"{FOLDER}/{BOOK}")  # fmt: skip
LATER = "evaluate/"  # metrics that commands add after training


def seal(run: Path) -> None:
    """Write ``links/files.json`` of a run that has ended, if it keeps links.

    Args:
        run: the run directory.
    """
    if (run / FOLDER / BOOK).is_file():
        runs.write_json(run / FOLDER / SEAL, hashes(run))


def hashes(run: Path) -> dict[str, Any]:
    """Hashes of the files that only training writes, of its metrics, of end states."""
    ends = {}
    for name in ("last.ckpt", "best.ckpt"):
        file = run / "checkpoints" / name
        if file.is_file():
            content = read(file)
            ends[name] = {"step": content["global_step"], "state": state.digest(content)}
    files = {str(file.relative_to(run)): sha256(file) for file in sealed(run)}
    return {"ends": ends, "metrics": metrics_hash(run), "files": files}


def sealed(run: Path) -> list[Path]:
    """The files of a run that only training writes."""
    return sorted(file for pattern in SEALED for file in run.glob(pattern) if file.is_file())


def sha256(file: Path) -> str:
    """SHA-256 of a file, as ``sha256sum`` prints it."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def metrics_hash(run: Path) -> str:
    """SHA-256 of the metrics in metrics.json that training has written."""
    content = runs.read_json(run / "metrics.json")
    kept = {k: v for k, v in sorted(content.items()) if not k.startswith(LATER)}
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()
