"""How long a user waits before anything happens: help, the list of recipes, the first step."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmarks
ROUNDS = 5


def seconds(folder: Path, *words: str) -> float:
    """CPU time of a Python process and its children, on one thread, its byte code at hand."""
    keep = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    place = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *words], env=keep | place, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


@pytest.mark.parametrize("words", [["--help"], ["ls"]])
def test_help_and_list_answer_at_once(words: list[str], tmp_path: Path) -> None:
    times = [seconds(tmp_path, "-m", "genlab", *words) for _ in range(ROUNDS + 1)][1:]
    middle = statistics.median(times)
    print(f"\ngenlab {words[0]}: {middle:.2f} s of CPU time (median of {ROUNDS})")
    assert middle < 0.5


def test_the_first_step_comes_soon_after_the_imports(tmp_path: Path) -> None:
    callback = "{class_path: tests.programs.SayModules}"
    fit = ("-m", "genlab", "fit", "vae/digits", f"trainer.callbacks+=[{callback}]")
    sides = (fit, ("-c", "import torch, lightning"))
    pairs = [[seconds(tmp_path, *side) for side in sides] for _ in range(ROUNDS + 1)][1:]
    first, imports = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"\nto the first step of genlab fit vae/digits: {first:.2f} s of CPU time, import torch, "
        f"lightning {imports:.2f}: {ratio:.2f}x (median of {ROUNDS} pairs)"
    )
    assert ratio <= 1.6
