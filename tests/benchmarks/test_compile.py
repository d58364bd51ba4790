"""What `torch.compile` of the encoder gains: a recipe's step with it beside one without."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from tests.benchmarks.timing import compare
from tests.evaluate.test_steps import fitted

pytestmark = pytest.mark.benchmarks
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


@pytest.mark.filterwarnings("ignore:.*checksums are not the original's")
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_compiled_encoder(recipe: str, data_root: Path, tmp_path: Path) -> None:
    """Prints the gain, which decides nothing here, and holds the losses of both together."""
    torch.set_num_threads(1)
    folders = [tmp_path / "plain", tmp_path / "compiled"]
    words = [*RECIPES[recipe], f"data.root={data_root}"]
    _, plain, _ = fitted(recipe, folders[0], *words)
    start = time.perf_counter()
    _, compiled, _ = fitted(recipe, folders[1], *words, "model.encoder_kwargs.compile=true")
    ready = time.perf_counter() - start
    losses = []
    for loop in (plain, compiled):
        torch.manual_seed(0)  # of MoCo's shuffle
        losses.append(loop.loss(loop.batch()))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-3, atol=1e-4)
    rounds = 5 if "cifar10" in recipe else 15
    compare(f"{recipe}: a step without torch.compile over one with",
            plain.step, compiled.step, rounds)  # fmt: skip
    print(f"first steps with it: {ready:.0f} s (cached code of earlier processes counts)")
