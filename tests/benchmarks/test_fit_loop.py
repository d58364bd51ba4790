"""What the fit loop costs over a bare loop: ``genlab bench`` on a recipe of every method.

Both run the method's own step on the recipe's own batches; the bare loop has no Trainer, no
callbacks, no metrics and no logger. `test_plain_steps` holds the method's step against plain code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmarks
LONG = 20.0  # ms; of such a step the fit loop may cost a twentieth more
RECIPES = {  # steps that are measured
    "classifier/digits": 400,
    "autoencoder/mnist": 300,
    "vae/digits": 600,
    "vae/mnist": 400,
    "cvae/mnist": 400,
    "vqvae/digits": 300,
    "vqvae/mnist": 40,
    "vq_prior/digits": 200,
    "wgan_gp/eight_gaussians": 600,
    "wgan_gp/digits": 600,
    "wgan_gp/mnist": 120,
    "nice/mnist": 40,
    "realnvp/mnist": 8,
    "glow/eight_gaussians": 300,
    "glow/mnist": 20,
    "simclr/mnist": 100,
    "simsiam/mnist": 100,
    "moco/mnist": 100,
    "moco_v3/mnist": 100,
    "byol/mnist": 100,
    "fixmatch/mnist": 60,
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_fit_loop_costs_little_more_than_a_bare_one(
    recipe: str, data_root: Path, tmp_path: Path
) -> None:
    """At most 1.05 times a step above 20 ms, at most 1.5 ms of CPU time above a shorter one."""
    steps = RECIPES[recipe]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GENLAB_DATA": str(data_root)}

    def genlab(*words: str) -> str:
        command = [sys.executable, "-m", "genlab", *words, "trainer.accelerator=cpu"]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    if recipe.startswith("vq_prior"):
        genlab("fit", "vqvae/digits", "trainer.max_epochs=1", "track.wandb=off")
    often = f"trainer.log_every_n_steps={min(50, steps)}"  # figures are written in every window
    found = json.loads(genlab("bench", recipe, "--steps", str(steps), "--json", often))
    fit, bare, extra, ratio = (found[k] for k in ("fit_ms", "bare_ms", "extra_ms", "ratio"))
    print(
        f"\n{recipe}: fit {fit:.2f} ms of CPU time a step, bare {bare:.2f}: {ratio:.3f}x, "
        f"{extra:+.2f} ms (over {steps} alternating steps)"
    )
    if bare > LONG:
        assert ratio <= 1.05
    else:
        assert extra <= 1.5
