"""Hashes of a finished run's files and end states: written, and compared with what lies there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from genlab import recipes, runs
from genlab.checkpoints import read, state
from genlab.errors import InputError, first_line
from genlab.training import changes
from genlab.training.engine.links import BOOK, FOLDER, SEAL, is_book
from genlab.training.proof import books, values
from genlab.training.proof.origin import changed_at
from genlab.training.proof.report import Report

SEALED = ("recipe.yaml", "splits.npz", "labels.json", "metrics.csv", "checkpoints/*.ckpt",
          f"{FOLDER}/step-*.ckpt", f"{FOLDER}/{BOOK}")  # fmt: skip
LATER = "evaluate/"  # metrics that commands add after training
ENDS = ("last.ckpt", "best.ckpt")


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
    for name in ENDS:
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


def check(run: Path, report: Report) -> dict[str, Any]:
    """Compare files with their hashes and with each other.

    Args:
        run: the run directory.
        report: list of findings to add to.

    Returns:
        The content of links.json; empty for a run without links, or if it is damaged.
    """
    book, seal = (runs.read_json(run / FOLDER / name) for name in (BOOK, SEAL))
    has_links = (run / FOLDER).is_dir()
    if has_links and not is_book(book):
        report.refuse(f"{FOLDER}/{BOOK} is missing or damaged")
    if has_links:
        _check_hashes(run, seal, report)
    before = len(report.faults)
    told = _ends(run, seal, report) if has_links else {}
    contents = _check_checkpoints(run, told, report)
    if is_book(book):
        books.check(run, book, report)
        _check_links(run, book, report)
    report.show("the states in its checkpoints and links have the hashes that are told", before)
    values.check(run, contents, report)
    return book if is_book(book) else {}


def _ends(run: Path, seal: dict[str, Any], report: Report) -> dict[str, Any]:
    """What files.json tells of end states; a fault for each that lies there untold."""
    told = seal.get("ends")
    found = {k: v for k, v in told.items() if isinstance(v, dict)} if isinstance(told, dict) else {}
    for name in ENDS:
        if (run / "checkpoints" / name).is_file() and name not in found:
            report.refuse(f"{FOLDER}/{SEAL} does not tell the state of {name}")
    return found


def _check_hashes(run: Path, seal: dict[str, Any], report: Report) -> None:
    files, before = seal.get("files"), len(report.faults)
    if not isinstance(files, dict) or not isinstance(seal.get("ends"), dict):
        report.refuse(f"{FOLDER}/{SEAL} is missing or damaged")
        return
    there = {str(file.relative_to(run)) for file in sealed(run)}
    for name in sorted(files.keys() - there):
        if not name.startswith(f"{FOLDER}/step-"):  # links may be removed to save space
            report.refuse(f"{name} is missing")
    for name in sorted(there):
        if name not in files:
            report.refuse(f"{name} is not a file of the finished run")
        elif sha256(run / name) != files[name]:
            report.refuse(f"{name} has changed: its SHA-256 is not that of {FOLDER}/{SEAL}")
    if metrics_hash(run) != seal.get("metrics"):
        report.refuse(f"metrics.json has changed: its hash is not that of {FOLDER}/{SEAL}")
    report.show(f"{len(there)} files and metrics.json are as at the end of training", before)


def _check_checkpoints(run: Path, ends: dict[str, Any], report: Report) -> dict[str, Any]:
    final, since, found = runs.read_json(run / "metrics.json"), changed_at(run), dict[str, Any]()
    for name in ENDS:
        file = run / "checkpoints" / name
        content = _content(run, file, report) if file.is_file() else None
        if content is None:
            continue
        found[name] = content
        told = ends.get(name, {})
        if told and told.get("state") != state.digest(content):
            report.refuse(f"checkpoints/{name}: its state is not that of {FOLDER}/{SEAL}")
        if name == "last.ckpt" or content["global_step"] > since or not since:
            _check_recipe(run, f"checkpoints/{name}", content, report)
        if name == "last.ckpt" and content["global_step"] != final.get("step"):
            report.refuse(
                f"metrics.json says step {final.get('step')}, last.ckpt {content['global_step']}"
            )
    return found


def _content(run: Path, file: Path, report: Report) -> dict[str, Any] | None:
    """The content of a checkpoint; a fault if it cannot be read."""
    try:
        content: dict[str, Any] = read(file)
        state.digest(content)
        if isinstance(content.get("global_step"), int):
            return content
        report.refuse(f"{file.relative_to(run)} is not a checkpoint of a training")
    except (InputError, AttributeError, TypeError, OSError) as error:
        report.refuse(f"{file.relative_to(run)} cannot be read: {first_line(error)}")
    return None


def _check_recipe(run: Path, name: str, content: dict[str, Any], report: Report) -> None:
    """Compare the settings in a checkpoint with recipe.yaml."""
    try:
        former = recipes.of_checkpoint(content.get("genlab"), name)
        now = recipes.of_run(run)
    except InputError as error:
        report.refuse(f"recipe.yaml or the settings in {name}: {first_line(error)}")
        return
    if former is None:
        report.refuse(f"{name} holds no settings")
        return
    found = [change.key for change in changes.between(former, now)]
    if found:
        report.refuse(f"{name} was written under other settings than recipe.yaml: {found[0]}")


def _check_links(run: Path, book: dict[str, Any], report: Report) -> None:
    since = changed_at(run)
    for link in book["links"]:
        file = run / FOLDER / str(link["file"])
        if not link["file"] or not file.is_file():
            continue
        name = f"{FOLDER}/{file.name}"
        content = _content(run, file, report)
        if content is None:
            continue
        if sha256(file) != link.get("sha256"):
            report.refuse(f"{name}: its SHA-256 is not that of {FOLDER}/{BOOK}")
        if (content["global_step"], state.digest(content)) != (link["step"], link["state"]):
            report.refuse(f"{name}: its state is not that of {FOLDER}/{BOOK}")
        if link["step"] > since:
            _check_recipe(run, name, content, report)
