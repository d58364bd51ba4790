"""Two processes of one thread against one process of two: DDP is no speed-up here, nor a loss."""

from __future__ import annotations

import csv
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmarks
ROUNDS = 3


def images_a_second(folder: Path, devices: int, data_root: Path) -> float:
    """Of simclr/mnist's fit loop by its own figures, once it runs."""
    environment = os.environ | {"OMP_NUM_THREADS": str(2 // devices), "GENLAB_DATA": str(data_root)}
    words = (
        "fit", "simclr/mnist", "data.batch_size=256", f"trainer.devices={devices}",
        "trainer.accelerator=cpu", "trainer.max_steps=40", "trainer.log_every_n_steps=10",
        "trainer.limit_val_batches=0",
        "trainer.limit_test_batches=0", "track.wandb=off",
    )  # fmt: skip
    folder.mkdir()
    command = [sys.executable, "-m", "genlab", *words]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("runs/*/*/*/metrics.csv")
    with file.open() as rows:
        found = [float(row["train/images_per_second"] or 0) for row in csv.DictReader(rows)]
    return [value for value in found if value][-1]


def test_two_ranks_of_one_thread_against_one_of_two(data_root: Path, tmp_path: Path) -> None:
    pairs = []
    for number in range(ROUNDS):
        pairs.append([images_a_second(tmp_path / f"{number}{n}", n, data_root) for n in (2, 1)])
    two, one = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"\nsimclr/mnist, 256 images a step: 2 processes x 1 thread {two:,.0f} images/s, "
        f"1 x 2 {one:,.0f}: {ratio:.2f}x (median of {ROUNDS} pairs)"
    )
    assert ratio > 0.7
