"""Seconds of `genlab runs` on 10,000 runs: the first time, later, with conditions on settings."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genlab import recipes

pytestmark = pytest.mark.benchmarks
NUMBER = 10_000
METRICS = {"epoch": 40, "fit_seconds": 812.5} | {
    f"{kind}{name}": 0.123456789
    for kind in ("val/", "best/val/", "test/")
    for name in ("loss", "knn_top1", "probe_top1", "effective_rank", "collapse")
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of four recipes and as many learning rates as runs; a fifth of them were killed."""
    place = tmp_path_factory.mktemp("registry")
    names = ("simclr/cifar10", "vae/mnist", "moco/mnist", "classifier/digits")
    texts = [recipes.dump(recipes.resolve([name])) for name in names]
    for k in range(NUMBER):
        name = names[k % len(names)]
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(1.7e9 + 60 * k))
        write_run(place / "runs" / name / f"{stamp}-{k:04x}", name, texts[k % len(names)], k)
    time.sleep(2.5)  # what has just changed is read again
    return place


def write_run(run: Path, recipe: str, text: str, k: int) -> None:
    """A run with the files of a real one, small."""
    for inside in ("checkpoints", "pictures", "wandb/offline-run-1/files"):
        (run / inside).mkdir(parents=True)
    (run / "recipe.yaml").write_text(text.replace("lr: ", f"lr: 0.{k + 1:05d}", 1))
    started = time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(1.7e9 + 60 * k))
    start = {"time": started, "step": 0, "command": ["fit", recipe], "changes": {}}
    facts = {"recipe": recipe, "seed": k, "started": started, "host": f"node-{k % 8}",
             "device": "cuda:0", "fingerprint": f"{k:064x}", "history": [start],
             "versions": dict.fromkeys(("torch", "timm", "numpy"), "1.2.3")}  # fmt: skip
    (run / "run.json").write_text(json.dumps(facts, indent=2))
    rows = "\n".join(f"{step},0.1,0.2,0.3" for step in range(0, 4000, 50))
    (run / "metrics.csv").write_text(f"step,train/loss,val/loss,val/knn_top1\n{rows}\n")
    if k % 5:
        (run / "metrics.json").write_text(json.dumps({"step": 4000} | METRICS, indent=2))
    for name in ("checkpoints/last.ckpt", "checkpoints/best.ckpt", "pictures/a.png", ".lock"):
        (run / name).write_bytes(b"x" * 1000)


def seconds(folder: Path, *words: str) -> tuple[float, float, int]:
    """Wall time and processor time of a command, and the lines that it prints."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "genlab", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, used, len(done.stdout.splitlines())


def test_ten_thousand_runs(folder: Path) -> None:
    """Prints the first time and the best of three later ones, in seconds."""
    where = ("--where", "model.lr>0.05 and state==done")
    for name, words in (
        ("runs", ("runs",)),
        ("runs --where on metrics", ("runs", "--where", "best/val/loss<1")),
        ("runs --where on settings", ("runs", *where)),
        ("runs simclr --best", ("runs", "simclr", "--best", "val/loss", "--since", "7d")),
        ("runs --csv", ("runs", "--csv", "runs.csv")),
    ):
        first = seconds(folder, *words)
        later = min(seconds(folder, *words) for _ in range(3))
        print(f"{name}: first {first[0]:.2f} s ({first[1]:.2f} s of processor), "
              f"later {later[0]:.2f} s ({later[1]:.2f} s), {later[2]} lines")  # fmt: skip
        assert first[2] == later[2] >= 1
