"""Checkpoint files of a run: which are whole, the newest, the best, the one that a name means."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from genlab.errors import RunError
from genlab.files import check_regular, step_of
from genlab.runs.finding import every, find, is_run
from genlab.runs.json_files import read_json
from genlab.runs.locks import held


def whole(file: Path) -> bool:
    """True if a checkpoint file is complete: its table of contents and all checksums are right."""
    try:
        check_regular(file)
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except Exception:  # a flipped bit can ask for an unknown compression, name, version ...
        return False


def newest(run: Path) -> Path | None:
    """The newest whole checkpoint of a run, to continue from; None before the first one."""
    return next((file for file in checkpoints(run) if whole(file)), None)


def checkpoints(run: Path) -> list[Path]:
    """The checkpoint files of a run, whole or not, the newest first."""
    found = list[tuple[int, int, Path]]()
    for file in (run / "checkpoints").glob("*.ckpt"):
        with suppress(FileNotFoundError):  # another process may remove the run
            if file.is_file():
                found.append((step_of(file), file.stat().st_mtime_ns, file))
    return [file for *_, file in sorted(found, key=lambda one: one[:2], reverse=True)]


def checkpoint(path: str | Path, unfit: Callable[[Path, str], str] | None = None) -> Path:
    """The checkpoint that ``path`` means: the file itself, or a run's best, else its newest whole.

    A recipe's name means its newest finished run that has one.

    Args:
        path: file, run directory, run id or recipe's name.
        unfit: function of a run and its recipe's name that says why the name does not mean it;
            empty if it may.

    Raises:
        RunError: nothing there.
    """
    path = Path(path)
    if os.path.isfile(path):
        return path
    if not os.path.exists(path) and path.suffix in (".ckpt", ".pt", ".pth", ".safetensors"):
        raise RunError(f"no checkpoint {path}")
    run = find(path)
    named = is_run(path) or run.as_posix().endswith(f"/{path.as_posix()}")  # ID or RECIPE/ID
    tried = [run] if named else _finished(path, run.parent, unfit or (lambda run, name: ""))
    file = next((file for one in tried if (file := _best(one)) is not None), None)
    if file is None:
        raise RunError(f"{run} has no whole checkpoint yet")
    return file


def _finished(name: Path, folder: Path, unfit: Callable[[Path, str], str]) -> list[Path]:
    """The finished runs of a recipe that its name may mean, newest first.

    Raises:
        RunError: none.
    """
    known = [run for run in reversed(every()) if run.parent == folder]
    reasons = {run: _unfinished(run) or unfit(run, name.as_posix()) for run in known}
    found = [run for run, reason in reasons.items() if not reason]
    if not found:
        raise RunError(
            f"{name} has no finished run with the recipe's own data; the newest run "
            f"{reasons[known[0]]}\nname it by its path to use it: {known[0]}"
        )
    return found


def _unfinished(run: Path) -> str:
    """Why a run has not come to its end, or does not stand there now; empty if it does."""
    if not (run / "metrics.json").is_file():
        return "is not finished"
    if held(run):
        return "is being trained"
    failed = read_json(run / "run.json").get("failed")
    newest = next(iter(checkpoints(run)), None) if failed else None
    return "has failed" if failed and not covers(read_json(run / "metrics.json"), newest) else ""


def covers(final: dict[str, Any], newest: Path | None) -> bool:
    """True if a metrics.json is of the newest checkpoint: a start after it has kept nothing."""
    step = final.get("step")
    return isinstance(step, int) and step >= (step_of(newest) if newest else -1)


def _best(run: Path) -> Path | None:
    best = run / "checkpoints" / "best.ckpt"
    return best if best.is_file() and whole(best) else newest(run)
