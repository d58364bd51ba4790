"""``submit``: trainings on a Slurm cluster, from its login node."""

from __future__ import annotations

import copy
import sys
import tempfile
from argparse import REMAINDER, ArgumentParser
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from genlab import process, recipes
from genlab.cli import links, planned
from genlab.cli.arguments import job_options
from genlab.cli.links import THEN, Link, Start
from genlab.cli.validation import build_on_cpu, gpu_settings, validate
from genlab.cluster import nodes, parents, slurm
from genlab.cluster.submission import check_array, shown
from genlab.cluster.submission import submit as put
from genlab.errors import InputError, RecipeError, SlurmError
from genlab.files import shown_path
from genlab.planning.gpus import Gpu
from genlab.recipes import COMMAND_LINE


def submit_options(parser: ArgumentParser) -> None:
    """Check a recipe and queue its training on a Slurm cluster; --then queues one after it."""
    parser.add_argument("words", nargs="*", metavar="RECIPE|FILE.yaml|key=value")
    parser.add_argument("--resume", metavar="RUN", help="continue this run in a new job")
    parser.add_argument("--array-of-seeds", metavar="0-4", help="one job for each seed")
    job_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the command only")
    parser.add_argument("--gpu", metavar="KIND", help="GPU that the memory is planned for")
    parser.add_argument("--no-plan", action="store_true", help="do not plan the GPUs' memory")
    parser.add_argument(
        "--then", nargs=REMAINDER, metavar="RECIPE",
        help="one more training, from the run of the one before; its settings and options follow",
    )  # fmt: skip


def submit(
    words: list[str],
    resume: str | None,
    dry_run: bool,
    array_of_seeds: str | None,
    then: list[str] | None,
    gpu: str | None,
    no_plan: bool,
    **wish: Any,
) -> None:
    """Check recipes, queue their trainings, and say where they are going to be."""
    if resume is not None and (array_of_seeds or [word for word in words if "=" not in word]):
        raise RecipeError(f"--resume continues {resume} alone, with its own recipe", COMMAND_LINE)
    if array_of_seeds:
        check_array(array_of_seeds)
        _refuse_with_array(words, then)
    recipes.refuse_untrained(resume or "")
    later = [word for word in then or () if word != "--dry-run"]
    more = links.segments(later) if then is not None else []
    with links.named(1 if more else 0, words):
        chain = [links.link(words, wish, 0, resume)]
    chain[0].job.array = array_of_seeds
    for given in more:
        with links.named(len(chain) + 1, given):
            named, options = links.parse(given, wish)
            chain.append(links.link(named, options, len(chain)))
    dry_run = dry_run or len(later) < len(then or ())
    if not dry_run:
        slurm.require("sbatch")
    for job in parents.unknown(chain[0].job.after):
        print(f"--after {job}: Slurm does not know it, or no more; it is not waited for",
              file=sys.stderr)  # fmt: skip
    for link in chain:
        link.job.cpus_per_task, link.cpus = nodes.cpus(link.job)
    _check(chain, [None] * len(chain) if no_plan else planned.gpus_of(chain, gpu))
    if dry_run:
        _show(chain)
        print(f"not checked: {_unchecked(chain)}", file=sys.stderr)
        return
    _report(chain, _queue(chain))


def _refuse_with_array(words: list[str], then: list[str] | None) -> None:
    for word in words:
        if word.removeprefix("--").startswith("seed_everything="):
            raise RecipeError(f"{word}: --array-of-seeds sets the seeds", COMMAND_LINE)
    if then is not None:
        what = f"--array-of-seeds cannot be combined with {THEN}: an array has many runs"
        raise RecipeError(what, COMMAND_LINE, "submit a chain for each seed_everything=N")


def _check(chain: Sequence[Link], gpus: Sequence[Gpu | None]) -> None:
    """Build every link, later ones upon stand-ins of the runs that they start from; then plan them.

    Args:
        chain: the links; what is found is noted in them.
        gpus: the GPU of each whose memory is planned; None for none.
    """
    asked = [copy.deepcopy(link.recipe) for link in chain]  # building changes them
    with tempfile.TemporaryDirectory(prefix="genlab-") as folder:
        places = [_validate(chain, number, folder) for number in range(1, len(chain) + 1)]
        for number, (link, gpu) in enumerate(zip(chain, gpus, strict=True)):
            if gpu is not None:
                words = [*(link.files or [link.recipe.name]), *link.overrides]
                memory = planned.memory(asked[number], link.job, gpu, places[number], words)
                link.gpu, link.memory = gpu.kind, memory
                if memory:  # the job is queued all the same
                    which = f"link {number + 1}: " if len(chain) > 1 else ""
                    print(f"{which}{memory}", file=sys.stderr)


def _validate(chain: Sequence[Link], number: int, folder: str) -> dict[str, Path | None]:
    """Build a link; returns the stand-ins of the runs that it starts from, by key."""
    from genlab.training import stand_ins

    link = chain[number - 1]
    places = {one.key: _stand_in(one, Path(folder)) for one in link.starts}
    settings = gpu_settings(link.recipe).items()
    link.unchecked += [f"trainer.{key} {given}" for key, (given, _) in settings]
    try:
        with process.notes_dropped() if places else nullcontext():
            lab = validate(link.recipe, link.job, places)
    except InputError as error:
        raise _told(error, link, number if len(chain) > 1 else 0, folder) from None
    missing = [one.name for one in link.starts if places[one.key] is None]
    link.built = not missing
    link.unchecked += [f"model and data, for want of {name}'s network" for name in missing]
    if lab and any(one.link == number for later in chain for one in later.starts):
        stand_ins.write(lab, Path(folder) / f"link {number}")
    return places


def _stand_in(start: Start, folder: Path) -> Path | None:
    """A run like the one that is to come, as far as its recipe is known."""
    from genlab.training import stand_ins

    run = folder / start.name
    if start.parent is not None and start.parent.words and not run.exists():
        with suppress(InputError):
            with process.notes_dropped():
                lab = build_on_cpu(links.recipe_of(start.parent), run, {})
            if lab:
                stand_ins.write(lab, run)
    return _inside(run, start.inside) if run.exists() else None


def _inside(run: Path, place: Path) -> Path:
    """The run, or a file of it that is going to be there."""
    if place.name:
        (run / place).parent.mkdir(parents=True, exist_ok=True)
        if not (run / place).exists():
            (run / place).hardlink_to(run / "checkpoints" / "last.ckpt")
    return run / place


def _told(error: InputError, link: Link, number: int, folder: str) -> InputError:
    """A refusal that names the link, and the run that its stand-in stands for."""
    text = str(error).replace(f"{folder}/", "").replace("/checkpoints/last.ckpt", "")
    return RecipeError(f"link {number}, {link.recipe.name}: {text}" if number else text)


def _show(chain: Sequence[Link]) -> None:
    """Print the commands; the number of an earlier link's job is not known yet."""
    places: list[Path] = []
    for number, link in enumerate(chain, 1):
        _arrange(link, places, f"JOB{number - 1}")
        places.append(link.run or link.job.folder / link.job.identity(f"JOB{number}"))
        print(shown(link.job))


def _arrange(link: Link, places: Sequence[Path], before: str) -> None:
    """Give a link's job its arguments and those it waits for, once the jobs before are queued."""
    link.job.words = link.words(places)
    if places:
        link.job.after = ":".join(filter(None, (before, link.job.after)))


def _queue(chain: Sequence[Link]) -> list[str]:
    """Queue every link; returns their jobs' numbers.

    Raises:
        SlurmError, RunError: one was refused; those before it have been cancelled.
    """
    numbers, places = list[str](), list[Path]()
    try:
        for link in chain:
            _arrange(link, places, numbers[-1] if numbers else "")
            numbers.append(put(link.job))
            places.append(link.run or link.job.folder / link.job.identity(numbers[-1]))
    except InputError as error:
        if not numbers:
            raise
        what = f"link {len(numbers) + 1}, {chain[len(numbers)].recipe.name}: {error}"
        raise SlurmError(f"{what}\n{_cancel(numbers)}") from None
    except KeyboardInterrupt:
        if numbers:
            print(f"genlab: {_cancel(numbers)}", file=sys.stderr)
        raise
    return numbers


def _cancel(numbers: Sequence[str]) -> str:
    named = f"job{'s' * (len(numbers) > 1)} {', '.join(numbers)} of the links before"
    try:
        slurm.run("scancel", *numbers)
    except SlurmError as error:
        return f"{named} could not be cancelled: {error}"
    return f"cancelled {named}"


def _report(chain: Sequence[Link], numbers: Sequence[str]) -> None:
    """Print where each training is going to be, and what has been checked."""
    for link, number in zip(chain, numbers, strict=True):
        place = link.job.folder / link.job.identity(number)
        print(f"job   {number}\nrun   {shown_path(link.run or place)}")
        print(f"log   {shown_path(place)}.log\ncpus  {link.job.cpus_per_task} a task, {link.cpus}")
        if link.job.after:
            print(f"after {link.job.after}" + "".join(map(_from, link.starts)))
    built = all(link.built for link in chain)
    how = ", by building model, data and trainer on this CPU" if built else ""
    whole = all(link.memory is not None for link in chain)
    kinds = ", ".join(dict.fromkeys(link.gpu for link in chain))
    fits = f", memory of {kinds} by genlab plan" if whole else ""
    print(f"checked      settings, time limit, each process's part of the batch{fits}{how}")
    print(f"not checked  {_unchecked(chain)}")
    print(f"next  genlab jobs, genlab cancel {' '.join(numbers)}")


def _unchecked(chain: Sequence[Link]) -> str:
    """What nobody has looked at before the jobs start."""
    told = [f"link {k}: {one}" if len(chain) > 1 else one
            for k, link in enumerate(chain, 1) for one in link.unchecked]  # fmt: skip
    memory = [] if all(link.memory is not None for link in chain) else ["memory"]
    return "; ".join(["the images on the disk", *memory, "the nodes", *told])


def _from(start: Start) -> str:
    return f", model.{start.key} is the run of {start.name}"
