"""A recipe's step with `torch.compile` of its encoder beside one without: RECIPE FOLDER [WORD ...].

One process for each recipe: compiled functions are kept, and limited in number, by process.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

import torch

from tests.benchmarks.timing import compare
from tests.training.profile.test_steps import fitted


def main(recipe: str, folder: Path, rounds: int, words: list[str]) -> None:
    """Print both times and the first steps' seconds.

    Raises:
        AssertionError: losses that are not the same.
    """
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", ".*checksums are not the original's")
    start = time.perf_counter()
    _, plain, _ = fitted(recipe, folder / "plain", *words)
    middle = time.perf_counter()
    _, compiled, _ = fitted(
        recipe, folder / "compiled", *words, "model.encoder_kwargs.compile=true"
    )
    losses = []
    for loop in (plain, compiled):
        torch.manual_seed(0)  # of MoCo's shuffle
        losses.append(loop.loss(loop.batch()))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-3, atol=1e-4)
    late = (time.perf_counter() - middle) - (middle - start)
    name = f"{recipe}: a step without torch.compile over one with"
    compare(name, plain.step, compiled.step, rounds)
    print(f"the start takes {late:.0f} s longer")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
