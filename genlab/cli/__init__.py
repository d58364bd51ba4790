"""The command line: words in, one command called, errors as at most three lines and exit code 2.

Nothing heavy is imported here: ``ls``, ``show``, ``cp`` and ``--help`` answer at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn

from genlab import __version__
from genlab.cluster import slurm
from genlab.errors import RecipeError, RunError, nearest

EXAMPLES = """\
recipes
  genlab ls [WORD]                      list recipes: name, method, data, cost, result
  genlab show RECIPE                    a recipe's header and its resolved settings
  genlab cp RECIPE FILE                 copy a shipped recipe to edit

training
  genlab fit RECIPE [FILE.yaml ...] [key=value ...]
  genlab fit --resume RUN [key=value ...]
  genlab crossval RECIPE --folds 5      stratified k-fold cross-validation, mean and spread
  genlab sweep RECIPE key=a,b key=0..4  every combination, a run each; a table at the end
  genlab bench RECIPE                   where a step's time goes; the same step as a bare loop
  genlab validate | test | predict RUN  measure a run again; predictions to a file

using a run or checkpoint
  genlab sample | reconstruct | interpolate RUN
  genlab evaluate RUN [--judge RUN|inception|ENCODER] [--shots 1,5,10] [--tsne] [--json]
  genlab embed RUN --out features.npz
  genlab compare RUNS                   differences, mean ± sd over seeds, curves.png
  genlab sync [RUNS]                    upload runs that W&B kept offline
  genlab export RUN --out DIR           weights that timm loads without genlab; torch, ONNX

data
  genlab pack FOLDER SHARDS             pictures into tar shards, for data.root=SHARDS

on a Slurm cluster
  genlab submit RECIPE [key=value ...] --nodes 2 --gpus-per-node 8 --time 24:00:00
  genlab jobs | cancel JOB ...          queued and running trainings, with step and speed

this machine
  genlab doctor                         versions, devices, data, W&B, Slurm

for example
  genlab fit vae/digits                 a minute on a laptop
  genlab fit vae/mnist model.latent_dim=8 trainer.max_epochs=5
  genlab sample vae/digits              from the newest run of that recipe
"""


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line and the nearest valid word, without a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing."""
        head, _, rest = message.partition("unrecognized arguments: ")
        if rest and not head:
            name = rest.split()[0].partition("=")[0]
            raise RecipeError(
                f"{self.prog} has no option {name}", hint=nearest(name, self._option_string_actions)
            )
        raise RecipeError(message, hint=f"{self.prog} --help shows what is possible")


def _parser() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser("genlab", description="One lab for learning from images.", epilog=EXAMPLES)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "genlab COMMAND ..."
    parser.add_argument("--version", action="version", version=f"genlab {__version__}")
    commands: dict[str, Parser] = {}

    def command(name: str, summary: str) -> Parser:
        commands[name] = Parser(f"genlab {name}", description=summary, allow_abbrev=False)
        return commands[name]

    command("ls", "List recipes.").add_argument("word", nargs="?", default="", metavar="WORD")
    command("show", "A recipe's header and resolved settings.").add_argument("recipe")
    copy = command("cp", "Copy a shipped recipe to edit.")
    copy.add_argument("recipe")
    copy.add_argument("dest")
    fit = command("fit", "Train a recipe, or continue a run; key=value changes any setting.")
    fit.add_argument("words", nargs="*", metavar="RECIPE|FILE.yaml|key=value")
    fit.add_argument("--resume", metavar="RUN", help="continue this run, exactly")
    fit.add_argument("--print_config", action="store_true", help="print all settings and stop")
    bench = command(
        "bench",
        "Where a training step's time goes, beside a bare loop: the same method, networks, batches "
        "and augmentation without trainer, callbacks and metrics. On a CPU milliseconds are of CPU "
        "time over all threads, which does not see waiting (disk, network, workers, other "
        "programs): the wall clock's row does. Validation, checkpoints and pictures do not count.",
    )
    bench.add_argument("words", nargs="+", metavar="RECIPE|FILE.yaml|key=value")
    bench.add_argument("--steps", type=int, default=40, help="measured, after the warm-up (40)")
    bench.add_argument("--warmup", type=int, default=10, help="steps that do not count (10)")
    bench.add_argument("--json", action="store_true", help="print JSON only")
    crossval = command("crossval", "Stratified k-fold cross-validation of a recipe.")
    crossval.add_argument("words", nargs="+", metavar="RECIPE|FILE.yaml|key=value")
    crossval.add_argument("--folds", type=int, default=5)
    crossval.add_argument("--json", action="store_true", help="print JSON only")
    for name in ("validate", "test"):
        measure = command(name, f"{name.title()} a run's selected checkpoint.")
        measure.add_argument("words", nargs="+", metavar="RUN|CKPT|RECIPE|key=value")
        measure.add_argument("--ckpt", metavar="FILE", help="checkpoint, when a recipe is given")
        measure.add_argument("--json", action="store_true", help="print JSON only")
    for name, what in (
        ("sample", "A grid of new images."),
        ("reconstruct", "Test images and their reconstructions."),
        ("interpolate", "Paths between test images through the latent space."),
    ):
        picture = command(name, what)
        picture.add_argument("ckpt", metavar="RUN|CKPT")
        picture.add_argument("--out", metavar="FILE.png", help="default: the run's pictures/")
        picture.add_argument("-n", type=int, default=None, help="how many images or paths")
        picture.add_argument("--seed", type=int, default=0)
    commands["sample"].add_argument("--label", type=int, help="of this class only")
    commands["sample"].add_argument("--temperature", type=float, default=1.0)
    commands["interpolate"].add_argument("--steps", type=int, default=10)
    commands["interpolate"].add_argument(
        "--path", choices=("linear", "spherical"), help="default: the method's own way"
    )
    evaluate = command("evaluate", "Every metric that suits the method, on the test set.")
    evaluate.add_argument("words", nargs="+", metavar="RUN|CKPT|key=value")
    evaluate.add_argument(
        "--judge",
        metavar="RUN|inception|ENCODER",
        help="network whose features judge samples: FID, KID, precision, nearest images ...",
    )
    evaluate.add_argument("--samples", type=int, default=10_000, help="samples for the judge")
    evaluate.add_argument(
        "--reference",
        default="test",
        choices=("test", "train"),
        help="split of real images that samples are compared with; published FIDs: train",
    )
    evaluate.add_argument("-k", type=int, default=20, help="neighbours of the kNN")
    evaluate.add_argument("--temperature", type=float, default=0.07, help="of the kNN's weights")
    evaluate.add_argument("--shots", metavar="1,5,10", help="labels per class of few-shot probes")
    evaluate.add_argument("--tsne", action="store_true", help="t-SNE picture instead of PCA")
    evaluate.add_argument("--json", action="store_true", help="print JSON only")
    export = command("export", "Weights for other programs: timm, torch or ONNX.")
    export.add_argument("ckpt", metavar="RUN|CKPT")
    export.add_argument("--out", required=True, metavar="DIR")
    export.add_argument("--format", default="timm", choices=("timm", "torch", "onnx"))
    export.add_argument("--push", metavar="ID", help="then upload to this Hugging Face repository")
    export.add_argument("--license", default="other", metavar="ID", help="SPDX id, for the card")
    export.add_argument("--fuse", action="store_true", help="fold batch norms into convolutions")
    export.add_argument("--force", action="store_true", help="replace what DIR holds")
    for name in ("embed", "predict"):
        features = command(name, "Features (embed) or outputs (predict) of images, as npz.")
        features.add_argument("words", nargs="+", metavar="RUN|CKPT|key=value")
        features.add_argument("--out", default=None, metavar="FILE.npz")
        features.add_argument("--split", default="test", choices=("train", "val", "test"))
    pack = command("pack", "A folder of pictures into tar shards, which data.root=SHARDS reads.")
    pack.add_argument("folder", metavar="FOLDER")
    pack.add_argument("shards", nargs="?", metavar="SHARDS", help="a new folder")
    pack.add_argument("--size", type=float, default=256, metavar="MB", help="of a shard")
    pack.add_argument("--resize", type=int, metavar="N", help="scale shorter sides down to N, JPEG")
    pack.add_argument("--quality", type=int, default=90, help="of that JPEG")
    pack.add_argument("--split", metavar="train,val,test", help="default: all that there are")
    pack.add_argument("--seed", type=int, default=0, help="of the order within the shards")
    pack.add_argument("--unlabeled", action="store_true", help="take sub-folders for no classes")
    pack.add_argument("--skip-broken", action="store_true", help="leave out unreadable pictures")
    pack.add_argument("--check", action="store_true", help="compare FOLDER, shards, with its index")
    sweep = command("sweep", "A grid or random search of a recipe's settings, without a server.")
    sweep.add_argument("words", nargs="*", metavar="RECIPE|FILE.yaml|key=value|key=a,b|key=0..4")
    sweep.add_argument("--random", type=int, metavar="N", help="N random trials, not the grid")
    sweep.add_argument("--seed", type=int, default=0, help="of the random trials")
    sweep.add_argument("--name", help="the sweep's name; default: the time")
    sweep.add_argument("--resume", metavar="SWEEP", help="go on: what is finished is skipped")
    sweep.add_argument("--parallel", type=int, default=1, metavar="P", help="runs at a time")
    sweep.add_argument("--dry-run", action="store_true", help="print the trials and stop")
    sweep.add_argument("--runs-in", dest="root", default="runs", metavar="DIR", help="for --resume")
    sweep.add_argument("--submit", action="store_true", help="as a Slurm job array; see submit")
    _job_options(sweep)
    compare = command("compare", "Runs side by side: differences, mean ± sd over seeds, curves.")
    compare.add_argument("runs", nargs="+", metavar="RUN|ID|RECIPE|SWEEP|slurm-JOB|PATTERN")
    compare.add_argument("--metric", metavar="val/loss,...", help="figures to show and draw")
    compare.add_argument("--out", metavar="FILE.png", help="default: compare.png beside the runs")
    compare.add_argument("--json", action="store_true", help="print JSON only")
    compare.add_argument("--group-by", metavar="KEY,...", help="gather runs by these settings")
    compare.add_argument("--runs-in", dest="root", default="runs", metavar="DIR")
    sync = command("sync", "Upload runs that W&B kept offline, each run's oldest part first.")
    sync.add_argument("runs", nargs="*", metavar="RUN|ID|RECIPE|SWEEP", help="default: all")
    sync.add_argument("--dry-run", action="store_true", help="print what would go up, in order")
    sync.add_argument("--runs-in", dest="root", default="runs", metavar="DIR")
    _slurm_words(command)
    command("doctor", "What this machine has.")
    return parser, commands


def _slurm_words(command: Callable[[str, str], Parser]) -> None:
    submit = command("submit", "Check a recipe and queue its training on a Slurm cluster.")
    submit.add_argument("words", nargs="*", metavar="RECIPE|FILE.yaml|key=value")
    submit.add_argument("--resume", metavar="RUN", help="continue this run in a new job")
    submit.add_argument("--array-of-seeds", metavar="0-4", help="one job for each seed")
    _job_options(submit)
    submit.add_argument("--dry-run", action="store_true", help="print the command only")
    command("jobs", "Your genlab jobs.").add_argument("--json", action="store_true")
    command("cancel", "Cancel jobs; each saves first.").add_argument("jobs", nargs="+")


def _job_options(submit: Parser) -> None:
    """What a training asks of Slurm, see `genlab.cluster.submission.Job`."""
    submit.add_argument("--nodes", type=int, default=1)
    submit.add_argument("--gpus-per-node", type=int, default=0, metavar="G", help="one task each")
    submit.add_argument("--tasks-per-node", type=int, default=1, help="processes, without GPUs")
    submit.add_argument("--cpus-per-task", type=int, default=1, metavar="C")
    submit.add_argument("--time", metavar="T", help="24:00:00, or minutes")
    for name in ("partition", "account", "qos", "constraint"):
        submit.add_argument(f"--{name}")
    submit.add_argument("--after", metavar="JOB", help="start when this one has succeeded")
    submit.add_argument(
        "--warn", type=int, default=120, metavar="S", dest="warning_seconds",
        help="seconds before the time limit at which a job saves and goes back into the queue",
    )  # fmt: skip
    submit.add_argument(
        "--sbatch", action="append", default=[], metavar="=--OPTION", help="any other of sbatch's"
    )


MODULES = {
    "ls": "ls", "show": "ls", "cp": "ls",
    "fit": "fit", "crossval": "crossval", "validate": "measure", "test": "measure",
    "sample": "samples", "reconstruct": "samples", "interpolate": "samples",
    "evaluate": "evaluate", "embed": "features", "predict": "features",
    "submit": "submit", "jobs": "submit", "cancel": "submit",
    "export": "export", "pack": "pack", "doctor": "doctor", "bench": "bench",
    "sweep": "sweep", "compare": "compare", "sync": "sync",
}  # fmt: skip


def join_pairs(words: Sequence[str]) -> list[str]:
    """``--model.lr 1e-3`` and ``--model.lr=1e-3`` -> ``model.lr=1e-3``; the rest as it is."""
    groups = ("model", "data", "trainer", "checkpoint", "track", "seed_everything")
    joined, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("--") and word[2:].split("=")[0].split(".")[0].rstrip("+") in groups:
            value = "" if "=" in word or not rest else "=" + rest.pop(0)
            word = word[2:] + value
        joined.append(word)
    return joined


def run(words: Sequence[str]) -> int:
    """Run one command line; returns the exit code.

    Raises:
        RecipeError, RunError, ValueError: input that the user can mend.
    """
    parser, commands = _parser()
    if not words or words[0] in ("-h", "--help", "--version"):
        parser.parse_args(words or ["--help"])
    name = words[0]
    if name not in commands:
        raise RecipeError(f"genlab has no command {name}", hint=nearest(name, commands))
    options: dict[str, Any] = vars(commands[name].parse_intermixed_args(join_pairs(words[1:])))
    function = getattr(import_module(f"genlab.cli.{MODULES[name]}"), name)
    return int(function(**options) or 0)


def main(words: Sequence[str] | None = None) -> NoReturn:
    """The console command."""
    try:
        code = run(sys.argv[1:] if words is None else words)
    except (RecipeError, RunError) as error:
        slurm.note_refusal()
        fail(str(error))
    except KeyboardInterrupt:
        print("genlab: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # `genlab ls | head`
        sys.stderr.close()
        sys.exit(0)
    sys.exit(code)


def fail(message: str) -> NoReturn:
    """Say what is wrong in at most three lines and leave with exit code 2."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    print("genlab: " + "\n  ".join(lines[:3]), file=sys.stderr)
    sys.exit(2)
