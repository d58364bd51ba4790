"""Runs with links, and changes of them that a forger could make."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab import runs
from genlab.checkpoints import read, state
from genlab.training import session
from genlab.training.proof import files

QUIET = {"track.wandb": "off", "trainer.accelerator": "cpu", "trainer.log_every_n_steps": 10}


LINK, NEXT = "links/step-00000016.ckpt", "links/step-00000024.ckpt"
BEST, LAST, BOOK = "checkpoints/best.ckpt", "checkpoints/last.ckpt", "links/links.json"


def fit(folder: Path, recipe: str = "vae/digits", **settings: Any) -> Path:
    """A run with links."""
    found = {key.replace("__", "."): value for key, value in settings.items()}
    where = {"track.runs": str(folder), "track.links": 4}
    return session.fit(recipe, QUIET | where | found).path


def flip(file: Path, place: float = 0.5) -> None:
    """One bit of a file, at a share of its length."""
    content = bytearray(file.read_bytes())
    content[int(len(content) * place)] ^= 1
    file.write_bytes(content)


def in_weight(name: str) -> Callable[[Path], None]:
    """One bit of a weight, in a file that is whole."""

    def change(run: Path) -> None:
        content = torch.load(run / name, weights_only=True)
        weight = next(v for v in content["state_dict"].values() if v.is_floating_point())
        weight.view(-1).view(torch.int32)[3] ^= 1
        torch.save(content, run / name)

    return change


def in_json(name: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """A value of a JSON file."""

    def apply(run: Path) -> None:
        content = runs.read_json(run / name)
        change(content)
        (run / name).write_text(json.dumps(content, indent=2) + "\n")

    return apply


def final(key: str, value: float) -> Callable[[Path], None]:
    return in_json("metrics.json", lambda c: c.update({key: value}))


def forge_hashes(run: Path) -> None:
    """Let links.json and files.json say what lies there."""
    book = runs.read_json(run / "links/links.json")
    for one in book["links"][1:]:
        file = run / "links" / one["file"]
        one |= {"sha256": files.sha256(file), "state": state.digest(read(file))}
    runs.write_json(run / "links/links.json", book)
    files.seal(run)


def mostly_slow(names: Iterable[str], *default: str) -> list[Any]:
    """Parameters of which all but a few are slow."""
    return [pytest.param(n, marks=() if n in default else pytest.mark.slow) for n in names]
