"""Command-line arguments shared by several commands: recipes and ``key=value`` pairs."""

from __future__ import annotations

import os
from argparse import ArgumentParser, RawDescriptionHelpFormatter

from genlab.errors import RecipeError

GROUPS = ("model", "data", "trainer", "checkpoint", "track", "seed_everything")  # of settings

SETTINGS = """\
settings, as key=value
  model.KEY         the method and its arguments: model=SimCLR model.temperature=0.2
  data.KEY          the images: data=MNIST data.batch_size=64 data.views=byol
  trainer.KEY       length, devices, precision, callbacks: trainer.max_epochs=5
  checkpoint.KEY    choice and age of the checkpoints kept: checkpoint.monitor=val/loss
  track.KEY         folder of runs, W&B, the test after training: track.wandb=off
  seed_everything   seed of every generator: seed_everything=1

genlab explain KEY            meaning, type and default: model, model.optimizer, data.views ...
genlab explain RECIPE KEY     its value in a recipe, and the file that sets it
genlab show RECIPE            all settings of a recipe
"""


def settings_help(parser: ArgumentParser) -> None:
    """List the groups of settings below a command's options."""
    parser.epilog, parser.formatter_class = SETTINGS, RawDescriptionHelpFormatter


def split_words(words: list[str]) -> tuple[list[str], list[str]]:
    """Recipe names and ``key=value`` overrides.

    Raises:
        RecipeError: a word is the key of a setting without a value.
    """
    overrides = [w for w in words if "=" in w and not os.path.exists(w)]
    for word in words:
        group = word.partition(".")[0]
        if "=" not in word and group in GROUPS and not os.path.exists(word):
            raise RecipeError(f"{word} has no value", hint=f"settings are key=value: {word}=VALUE")
    return [w for w in words if w not in overrides], overrides


def job_options(parser: ArgumentParser) -> None:
    """Options of a Slurm job, see `genlab.cluster.submission.Job`."""
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--gpus-per-node", type=int, default=0, metavar="G", help="one task each")
    parser.add_argument("--tasks-per-node", type=int, default=1, help="processes, without GPUs")
    parser.add_argument(
        "--cpus-per-task", type=int, metavar="C", help="default: 8, or the node's share"
    )
    parser.add_argument("--time", metavar="T", help="24:00:00, or minutes")
    for name in ("--partition", "--account", "--qos", "--constraint"):
        parser.add_argument(name)
    parser.add_argument("--after", metavar="JOB", help="start when this one has succeeded")
    parser.add_argument(
        "--warn", type=int, default=120, metavar="S", dest="warning_seconds",
        help="seconds before the time limit at which a job saves and goes back into the queue",
    )  # fmt: skip
    parser.add_argument(
        "--sbatch", action="append", default=[], metavar="=--OPTION", help="any other of sbatch's"
    )
