"""What `torch.compile` of the encoder gains: a recipe's step with it beside one without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmarks
ROOT = Path(__file__).parents[2]
RECIPES: dict[str, list[str]] = {  # and what makes the long ones short enough
    "classifier/digits": [],
    "classifier/mnist": [],
    "classifier/cifar10_vit_tiny": ["data.batch_size=32"],
    "simclr/digits": [],
    "simclr/mnist": [],
    "simclr/cifar10_small": [],
    "simclr/cifar10": ["data.batch_size=32"],
    "moco/mnist": [],
    "byol/mnist": [],
    "fixmatch/mnist": [],
    "fixmatch/cifar10_small": ["data.batch_size=8"],
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_compiled_encoder(recipe: str, data_root: Path, tmp_path: Path) -> None:
    """Prints the gain, of which nothing is asked, and holds the losses of both together."""
    rounds = "5" if "cifar10" in recipe else "15"
    words = [recipe, str(tmp_path), rounds, *RECIPES[recipe], f"data.root={data_root}"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.program_compile", *words],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "c")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
