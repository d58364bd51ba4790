"""The command line: parses arguments, calls one command, reports errors in at most three lines.

Each command is a file of its name or of its family (`samples`, `features`, `measure`, `jobs`);
`arguments` and `text` are shared.

Nothing heavy is imported here: ``ls``, ``show``, ``cp``, ``explain`` and ``--help`` answer
immediately.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module
from typing import Any, NoReturn

from genlab import __version__, process, recipes
from genlab.cli import streams
from genlab.cli.arguments import GROUPS, settings_help
from genlab.cluster import slurm
from genlab.errors import InputError, RecipeError, fault_of, nearest, told
from genlab.internals import messages, python_parts
from genlab.training.engine.memory import keep_freed_memory
from genlab.training.engine.threads import spin_briefly

EXAMPLES = """\
recipes
  genlab ls [WORD ...]                  list recipes: name, method, data, cost, result
  genlab show RECIPE                    a recipe's head and its resolved settings
  genlab cp RECIPE FILE                 copy a shipped recipe to edit
  genlab explain [RECIPE] NAME          a class, key, metric or a run's file; a recipe's value

training
  genlab fit RECIPE [FILE.yaml ...] [key=value ...]
  genlab fit --resume RUN [key=value ...]
  genlab crossval RECIPE --folds 5      stratified k-fold cross-validation, mean and spread
  genlab sweep RECIPE key=a,b key=0..4  every combination, a run each; a table at the end
  genlab study run STUDY                one question, or a table of methods; ls, show, page
  genlab reproduce TABLE                a published table and its papers' results; ls
  genlab bench RECIPE                   where a step's time goes; the same step as a bare loop
  genlab laws RECIPE                    is it right on N processes, when resumed ...
  genlab plan RECIPE --nodes 4 --gpus-per-node 8 --gpu a100-40    memory, hours; no GPU needed
  genlab replay RUN                     the step that was not finite again: the first bad tensor
  genlab verify RUN [--full]            is it what it says: files, metrics, steps trained again
  genlab validate | test | predict RUN  measure a run again; predictions to a file

using a run or checkpoint
  genlab sample | reconstruct | interpolate RUN
  genlab evaluate RUN [--judge RUN|inception|dinov2|ENCODER] [--shots 1,5,10] [--tsne] [--json]
  genlab embed RUN --out features.npz
  genlab runs [PATTERN] [--where 'model.lr<0.1 and state==done'] [--best METRIC] [--since 7d]
  genlab runs rm | archive | du [PATTERN]; genlab runs diff RUN RUN
  genlab compare RUNS                   differences, mean ± sd over seeds, curves.png
  genlab report RUNS|STUDY              one HTML page: curves, tables, images; needs no network
  genlab sync [RUNS]                    upload runs that W&B kept offline
  genlab export RUN --out DIR           weights that timm loads without genlab; torch, ONNX

data
  genlab pack SOURCE SHARDS             images into tar shards, for data.root=SHARDS

on a Slurm cluster
  genlab submit RECIPE [key=value ...] --nodes 2 --gpus-per-node 8 --time 24:00:00
  genlab submit RECIPE --then linear/digits [key=value ...]    a probe from its run
  genlab jobs | cancel JOB ...          queued and running trainings, with step and speed

this machine
  genlab completion bash|zsh|fish       a script for the shell: commands, recipes, runs, keys
  genlab doctor                         versions, devices, data, W&B, Slurm
  genlab doctor --gpu                   try genlab on this machine's GPUs, and write a report

for example
  genlab fit vae/digits                 a minute on a laptop
  genlab fit vae/mnist model.latent_dim=8 trainer.max_epochs=5
  genlab sample vae/digits              from the newest run of that recipe
"""


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors and the nearest valid name, without a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing."""
        if (name := messages.unknown_option(message)) is not None:
            raise RecipeError(
                f"{self.prog} has no option {name}",
                hint=nearest(name, python_parts.option_names(self)),
            )
        raise RecipeError(message, hint=f"{self.prog} --help shows what is possible")


COMMANDS = {  # module of each command; it holds the function and its `<command>_options`
    "ls": "ls", "show": "ls", "cp": "ls", "new": "new",
    "fit": "fit", "crossval": "crossval", "validate": "measure", "test": "measure",
    "sample": "samples", "reconstruct": "samples", "interpolate": "samples",
    "evaluate": "evaluate", "embed": "features", "predict": "features",
    "submit": "submit", "jobs": "jobs", "cancel": "jobs",
    "export": "export", "pack": "pack", "doctor": "doctor", "bench": "bench",
    "runs": "runs", "sweep": "sweep", "study": "study", "reproduce": "reproduce",
    "compare": "compare", "report": "report", "sync": "sync",
    "laws": "laws", "replay": "replay", "verify": "verify", "plan": "plan", "explain": "explain",
    "completion": "completion",
}  # fmt: skip

LONG = (
    "fit",
    "sweep",
    "study",
    "reproduce",
    "crossval",
    "bench",
    "laws",
    "doctor",
)  # they go on when nobody reads their output

TRAINING = ("fit", "submit", "sweep", "crossval", "bench", "plan")  # they take settings of a recipe
TRUST = "class or package that the run or checkpoint may name besides genlab's"
HALF = 200  # characters of a line that is too long
FROM_FILES = (  # commands that open a run or checkpoint
    "fit", "submit", "validate", "test", "predict", "sample", "reconstruct", "interpolate",
    "evaluate", "embed", "export", "replay", "verify",
)  # fmt: skip


def _parser() -> Parser:
    """The parser of the program itself; each command's is made when it is called."""
    parser = Parser("genlab", description="One lab for learning from images.", epilog=EXAMPLES)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "genlab COMMAND ..."
    parser.add_argument("--version", action="version", version=f"genlab {__version__}")
    return parser


def join_pairs(words: Sequence[str]) -> list[str]:
    """``--model.lr 1e-3`` and ``--model.lr=1e-3`` -> ``model.lr=1e-3``; the rest as it is."""
    joined, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("--") and word[2:].split("=")[0].split(".")[0].rstrip("+") in GROUPS:
            value = "" if "=" in word or not rest else "=" + rest.pop(0)
            word = word[2:] + value
        if word.startswith("--then="):  # the words after it are the link's, too
            joined.append("--then")
            word = word.removeprefix("--then=")
        joined.append(word)
    return joined


def run(words: Sequence[str]) -> int:
    """Run one command line; returns the exit code.

    Raises:
        RecipeError, RunError, ValueError: input that the user can fix.
    """
    if not words or words[0] in ("-h", "--help", "--version"):
        _parser().parse_args(words or ["--help"])
    name = words[0]
    if name not in COMMANDS:
        raise RecipeError(f"genlab has no command {name}", hint=nearest(name, COMMANDS))
    module = import_module(f"genlab.cli.{COMMANDS[name]}")
    keep_freed_memory()
    spin_briefly()
    options = getattr(module, f"{name}_options")
    parser = Parser(f"genlab {name}", description=inspect.getdoc(options), allow_abbrev=False)
    options(parser)
    if name in TRAINING:
        settings_help(parser)
    if name in FROM_FILES:
        parser.add_argument("--trust", action="append", metavar="NAME", help=TRUST)
    rest = join_pairs(words[1:])
    if bare := [word for word in rest if word.startswith("--") and word.endswith("=--")]:
        raise RecipeError(f"{bare[0]} has no value")  # argparse makes an empty list of it
    given: dict[str, Any] = vars(parser.parse_intermixed_args(rest))
    with recipes.allow(given.pop("trust", None) or ()):
        return int(getattr(module, name)(**given) or 0)


def main(words: Sequence[str] | None = None) -> NoReturn:
    """The console command."""
    given = sys.argv[1:] if words is None else words
    if words is None:
        process.collect_rarely()
    streams.print_anything()
    try:
        lasting = streams.lasting() if given[:1] and given[0] in LONG else nullcontext()
        with streams.plain_warnings(), lasting:
            code = run(given)
        sys.stdout.flush()
    except InputError as error:
        slurm.note_refusal()
        fail(str(error))
    except KeyboardInterrupt:
        print("genlab: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # `genlab ls | head`
        sys.exit(streams.end_quietly())
    except Exception as error:
        fault = fault_of(error)
        if fault is None:
            raise
        fail(told(fault), 1)
    sys.exit(code)


def _short(line: str) -> str:
    """A line of a message; of a very long one its beginning and its end."""
    return line if len(line) <= 2 * HALF else f"{line[:HALF]} ... {line[-HALF:]}"


def fail(message: str, code: int = 2) -> NoReturn:
    """Report an error in at most three lines, without credentials, and leave."""
    message = recipes.without_credentials(message)
    lines = [_short(line.strip()) for line in message.strip().splitlines() if line.strip()]
    try:
        print("genlab: " + "\n  ".join(lines[:3]), file=sys.stderr, flush=True)
    except BrokenPipeError:
        streams.end_quietly()
    sys.exit(code)
