"""Parts of a fuzzer's mutants, each in a process of its own."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import tempfile
from pathlib import Path

from tests.fuzz import lines, mutants
from tests.fuzz.verdict import Verdict, judge

BYTES = 3 * 2**30
KEEP = Path("fuzz-failures")


def recipe(seed: int, number: int, folder: Path) -> tuple[str, Verdict]:
    """One mutant of a recipe; the command that repeats it."""
    text = mutants.mutant(seed, number)
    file = folder / "mutant.yaml"
    file.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
    found = judge(["fit", "mutant.yaml", "track.wandb=off"], folder)
    return f"genlab fit {KEEP}/{seed}-{number}.yaml track.wandb=off", found


def words(seed: int, number: int, folder: Path) -> tuple[str, Verdict]:
    """One command line."""
    run = str(next(Path("runs/vae/digits").iterdir(), "vae/digits"))
    given = lines.line(seed, number, run)
    return f"genlab {shlex.join(given)}".encode("unicode_escape").decode(), judge(given, folder)


def part(kind: str, seed: int, numbers: range) -> list[tuple[int, str, Verdict]]:
    """Some mutants, in a process and a folder of their own."""
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    keep, found = KEEP.absolute(), []
    for number in numbers:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            os.chdir(folder)
            if kind == "lines":
                lines.lay_out(folder)
                if not judge(["fit", "vae/digits", "track.wandb=off"], folder).code == 0:
                    raise RuntimeError("vae/digits does not train")
            command, verdict = (words if kind == "lines" else recipe)(seed, number, folder)
            if verdict.fault and kind == "recipes":
                keep.mkdir(exist_ok=True)
                shutil.copyfile("mutant.yaml", keep / f"{seed}-{number}.yaml")
            os.chdir("/")
        if verdict.fault:
            found.append((number, command, verdict))
    return found
