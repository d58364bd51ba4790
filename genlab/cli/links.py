"""Jobs that ``submit`` queues one after another: arguments, and the runs they start from."""

from __future__ import annotations

import json
import os
import re
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genlab import recipes, runs
from genlab.cli.arguments import job_options, split_words
from genlab.cluster import parents
from genlab.cluster.parents import Parent
from genlab.cluster.submission import Job
from genlab.errors import InputError, RecipeError
from genlab.recipes import COMMAND_LINE, Recipe

THEN = "--then"
FIRST = (
    "--resume",
    "--array-of-seeds",
    "--after",
    "--trust",
    "--gpu",
    "--no-plan",
)  # options of the first link alone
EARLIER = re.compile(r"(?:--)?model\.(?:init_args\.)?(\w+)=@(\d*)")  # the run of an earlier link
PLAIN = re.compile(r"[\w./-]+")  # a path that YAML reads as text


@dataclass
class Start:
    """A run that a link starts from and that does not exist yet.

    Args:
        key: argument of the model.
        link: number of the earlier link, from 1; 0 for a job in the queue.
        parent: that job; None for a link, or where squeue does not answer.
        job: its number.
        inside: place in the run, for a file of it.
    """

    key: str
    link: int = 0
    parent: Parent | None = None
    job: str = ""
    inside: Path = field(default_factory=Path)

    @property
    def name(self) -> str:
        """The run for a message."""
        return f"link {self.link}" if self.link else f"slurm-{self.job}"


@dataclass
class Link:
    """One job of a chain; ``run`` is the run that it continues.

    ``cpus`` says where the number of CPUs comes from, ``unchecked`` what could not be checked, and
    ``built`` is False if the model and the data are among that. ``memory`` is what a plan says of
    it, see `genlab.planning.queueing`, and ``gpu`` the GPU that it was made for.
    """

    recipe: Recipe
    files: list[str]
    overrides: list[str]
    job: Job
    run: Path | None = None
    starts: list[Start] = field(default_factory=list)
    cpus: str = ""
    unchecked: list[str] = field(default_factory=list)
    built: bool = True
    gpu: str = ""
    memory: str | None = None

    def words(self, places: Sequence[Path]) -> list[str]:
        """Arguments of ``genlab fit``, with the places of earlier links' runs."""
        trust = [word for name in sorted(recipes.allowed_now()) for word in ("--trust", name)]
        known = ["--resume", str(self.run)] if self.run else [*map(_absolute, self.files)]
        return [*known, *self.overrides, *self._starts(places), *trust]

    def _starts(self, places: Sequence[Path]) -> list[str]:
        found = {one.key: places[one.link - 1] for one in self.starts if one.link}
        found |= {one.key: one.parent.run for one in self.starts if one.parent and one.parent.run}
        inside = {one.key: one.inside for one in self.starts}
        return [f"model.{key}={_as_yaml(str(run / inside[key]))}" for key, run in found.items()]


def _as_yaml(path: str) -> str:
    return path if PLAIN.fullmatch(path) else json.dumps(path, ensure_ascii=False)


def _absolute(word: str) -> str:
    """A recipe file by its full path, a shipped recipe by its name."""
    return str(Path(word).absolute()) if os.path.exists(word) else word


def segments(then: Sequence[str]) -> list[list[str]]:
    """Arguments of each link after the first.

    Raises:
        RecipeError: a link without a recipe, or with an option of the first.
    """
    found: list[list[str]] = [[]]
    for word in then:
        if word == THEN:
            found.append([])
        elif word.partition("=")[0] in FIRST:
            option = word.partition("=")[0]
            raise RecipeError(f"{option} goes before the first {THEN}", COMMAND_LINE)
        else:
            found[-1].append(word)
    return found


@contextmanager
def named(number: int, words: Sequence[str]) -> Iterator[None]:
    """Say in a refusal of which link it is.

    Args:
        number: its number, from 1; 0 where it is the only one.
        words: its arguments.
    """
    try:
        yield
    except InputError as error:
        recipe = "".join(f", {word}" for word in words[:1] if "=" not in word)
        raise RecipeError(f"link {number}{recipe}: {error}" if number else str(error)) from None


def parse(words: Sequence[str], first: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """A link's recipe and settings, and the options of its job.

    Args:
        words: all between two ``--then``.
        first: the first link's options, which hold where the link has none of its own.
    """
    from genlab.cli import Parser

    parser = Parser(f"genlab submit {THEN}", allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    job_options(parser)
    shared = {key: value for key, value in first.items() if key != "after"}
    given = vars(parser.parse_intermixed_args(list(words), Namespace(**shared)))
    return given.pop("words"), given


def link(words: list[str], wish: dict[str, Any], before: int, resume: str | None = None) -> Link:
    """A link with its recipe resolved and its keys checked.

    Args:
        words: recipe and settings.
        wish: options of the job.
        before: number of links before it.
        resume: run that it continues, in place of a recipe.

    Raises:
        RecipeError: unknown recipe, key or value; a run that no earlier link writes.
    """
    typed = {found[1]: found[2] for word in words if (found := EARLIER.fullmatch(word))}
    files, overrides = split_words([word for word in words if not EARLIER.fullmatch(word)])
    run = runs.find(resume).absolute() if resume is not None else None
    recipe = recipes.of_run(run, overrides) if run else recipes.resolve(files, overrides)
    recipes.check_keys(recipe)
    options = {key: value for key, value in wish.items() if key != "sbatch"}
    job = Job(recipe=recipe.name, root=recipe.runs, options=wish["sbatch"], **options)
    one = Link(recipe, files, overrides, job, run)
    for key, number in typed.items():
        one.starts.append(Start(_taken(key), _number(number, before, key)))
    if before and not typed:
        one.starts += _implied(one, before)
    if run is None:  # a run that is continued has its parent's weights
        one.starts += _queued(one)
    return one


def recipe_of(parent: Parent) -> Recipe:
    """The recipe that a job in the queue trains.

    Raises:
        InputError: its arguments cannot be told from what Slurm shows.
    """
    words = list(parent.words or ())
    while "--trust" in words:
        place = words.index("--trust")
        del words[place : place + 2]
    files, overrides = split_words([word for word in words if word != "--resume"])
    recipe = recipes.resolve(files, overrides)
    recipes.check_keys(recipe)
    return recipe


def takes() -> tuple[str, ...]:
    """Arguments of models that take a run."""
    from genlab.checkpoints.loading import FROM_RUNS

    return (*FROM_RUNS, "pretrained")


def _taken(key: str) -> str:
    if key not in takes():
        hint = f"a run is taken by {' or '.join(f'model.{name}' for name in takes())}"
        raise RecipeError(f"model.{key} takes no run", COMMAND_LINE, hint)
    return key


def _number(text: str, before: int, key: str) -> int:
    number = int(text) if text else before
    if not 1 <= number <= before:
        what = f"model.{key}=@{text} is the run of an earlier link, and there is none"
        raise RecipeError(what, COMMAND_LINE, f"{THEN} RECIPE adds a link")
    return number


def _implied(one: Link, before: int) -> list[Start]:
    """The run of the link before, by the argument that takes one, unless that has been typed."""
    path = str(one.recipe.config["model"]["class_path"])
    has = recipes.parameters("model", path) or ()
    key = next((name for name in takes() if name in has), None)
    if key is None:
        what = f"{path.rpartition('.')[2]} takes no run"
        raise RecipeError(what, COMMAND_LINE, "--after JOB waits without one")
    typed = one.recipe.origin(f"model.init_args.{key}") == COMMAND_LINE
    return [] if typed else [Start(key, before)]


def _queued(one: Link) -> list[Start]:
    """Runs of the jobs that ``--after`` waits for, as far as they are named and not there yet."""
    found = []
    arguments, known = one.recipe.arguments("model"), {start.key for start in one.starts}
    for key in (name for name in takes() if name not in known):
        word = arguments.get(key)
        job, inside = parents.job_in(word) if isinstance(word, str) else ("", Path())
        if job and not _exists(str(word)):
            found.append(_start(key, str(word), job, inside, one))
    return found


def _exists(word: str) -> bool:
    try:
        return bool(runs.checkpoint(word))
    except InputError:
        return False


def _start(key: str, word: str, job: str, inside: Path, one: Link) -> Start:
    """A run that ``--after`` makes sure of.

    Raises:
        RecipeError: nothing waits for its job, or the job writes another run.
        SlurmError: see `parents.find`.
    """
    where = f"{one.recipe.origin(f'model.init_args.{key}')}, model.{key}"
    if not parents.waits_for(job, one.job.after):
        what = f"{word} is not a run, or has no checkpoint yet"
        raise RecipeError(what, where, f"--after {job} waits until job {job} has succeeded")
    parent = parents.find(job)
    if parent and parent.words == []:
        raise RecipeError(f"job {job} is a sweep's, which names its run", where, "see genlab jobs")
    if parent and parent.state == "COMPLETED":
        raise RecipeError(f"job {job} has ended, and {word} has no checkpoint", where)
    if parent and parent.run and "/" in word:
        place = parent.run / inside
        if Path(word).absolute() != place and not str(place).endswith(f"/{word}"):
            raise RecipeError(f"{word} is not the run of job {job}", where, f"it is {parent.run}")
    return Start(key, parent=parent, job=job, inside=inside)
