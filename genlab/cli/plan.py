"""``plan``: what a recipe needs on GPUs, before a day in a queue is lost."""

from __future__ import annotations

import copy
import json as json_format
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from genlab import recipes
from genlab.cli import plan_rows
from genlab.cli.arguments import split_words
from genlab.cluster.nodes import cpus
from genlab.cluster.submission import Job
from genlab.errors import RecipeError
from genlab.planning import gpus

if TYPE_CHECKING:
    from genlab.planning.exam import Fault
    from genlab.planning.hours import Cluster
    from genlab.recipes import Recipe


def plan_options(parser: ArgumentParser) -> None:
    """Plan a training on GPUs: memory, arithmetic, communication, loader, hours. It needs none.

    A step is run with tensors that have shapes and no values. Peaks are the vendors', what else is
    assumed stands in the table. Exit code 1 where the memory of a GPU does not suffice, and where
    --faults finds what would stop the training.
    """
    parser.add_argument("words", nargs="+", metavar="RECIPE|FILE.yaml|key=value")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--gpus-per-node", type=int, default=1, metavar="G")
    parser.add_argument("--gpu", metavar="KIND", help=", ".join(gpus.known()))
    parser.add_argument(
        "--memory", type=float, metavar="GB", help="of any other GPU, as its data sheet says"
    )
    parser.add_argument(
        "--tflops", type=float, metavar="N", help="its dense arithmetic in the recipe's precision"
    )
    parser.add_argument("--bandwidth", type=float, metavar="GB/s", help="of its memory")
    parser.add_argument(
        "--utilisation", type=float, metavar="PERCENT", help=_assumed("utilisation")
    )
    parser.add_argument("--network", type=float, metavar="GB/s", help=_assumed("network"))
    parser.add_argument("--cores", type=float, metavar="C", help="processors for each GPU")
    parser.add_argument(
        "--images", type=int, metavar="N", help="training images, where they are elsewhere"
    )
    parser.add_argument("--room", action="store_true", help="try what makes room although it fits")
    parser.add_argument(
        "--faults", action="store_true",
        help="look for wrong devices, float64, host waits, growth and deadlocks in the step",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON only")


def _assumed(name: str) -> str:
    one = gpus.assumptions()[name]
    return f"{one.why.partition(';')[0]} (assumed: {one.value:g})"


def plan(
    words: list[str],
    nodes: int = 1,
    gpus_per_node: int = 1,
    gpu: str | None = None,
    memory: float | None = None,
    tflops: float | None = None,
    bandwidth: float | None = None,
    utilisation: float | None = None,
    network: float | None = None,
    cores: float | None = None,
    images: int | None = None,
    room: bool = False,
    faults: bool = False,
    json: bool = False,
) -> int:
    """Print a plan; 1 when it does not fit, or when a fault would stop it."""
    for name, value in (("nodes", nodes), ("gpus-per-node", gpus_per_node), ("images", images),
                        ("cores", cores), ("network", network)):  # fmt: skip
        if value is not None and not 0 < value < 1e9:
            raise RecipeError(f"--{name} {value:g} must be above 0")
    if utilisation is not None and not 1 <= utilisation <= 100:
        raise RecipeError(f"--utilisation {utilisation:g} is not a percentage from 1 to 100")
    chosen = gpus.chosen(gpu, memory, tflops, bandwidth)
    files, overrides = split_words(words)
    recipe = recipes.resolve(files, overrides)
    recipes.check_keys(recipe)
    _check_trainer(recipe, nodes, gpus_per_node)
    from genlab.planning.plan import plan as make

    cluster = _cluster(chosen, nodes, gpus_per_node, utilisation, network, cores)

    def told(line: str) -> None:
        print(f"{recipe.name}: {line}", file=sys.stderr)

    made = make(recipe, cluster, images=images, make_room=room, told=told)
    found = _faults(recipe, told) if faults else None
    if json:
        rows = None if found is None else [asdict(one) | {"stops": one.stops} for one in found]
        print(json_format.dumps(made.as_dict() | {"faults": rows}, indent=1))
    else:
        plan_rows.show(made)
        if found is not None:
            print("\n".join(map(str, found)) or "no fault found")
    return int(not made.fits or any(one.stops for one in found or ()))


def _faults(recipe: recipes.Recipe, told: Callable[[str], None]) -> list[Fault]:
    from genlab.planning import faults

    told("faults of a step ...")
    return faults.faults(recipe)


def _check_trainer(recipe: Recipe, nodes: int, per_node: int) -> None:
    """Refuse what ``fit`` refuses of a trainer, and numbers of GPUs other than the options'."""
    from genlab.training.refusals import check_groups, place

    rest = copy.deepcopy(recipe)  # of a cluster's numbers this machine knows nothing
    trainer = rest.config.get("trainer") or {}
    for key, option, planned in (("devices", "--gpus-per-node", per_node),
                                 ("num_nodes", "--nodes", nodes)):  # fmt: skip
        given = str(trainer.pop(key, None))
        if given.isdigit() and int(given) != planned:
            what = f"trainer.{key} {given}, but {option} says {planned}"
            raise RecipeError(what, place(recipe, "trainer", key), f"{option} {given} would do")
    check_groups(rest)


def _cluster(
    gpu: gpus.Gpu,
    nodes: int,
    per_node: int,
    utilisation: float | None,
    network: float | None,
    cores: float | None,
) -> Cluster:
    from genlab.planning.hours import Cluster

    source = "--cores"
    if cores is None:
        cores, source = cpus(Job("", Path(), nodes=nodes, gpus_per_node=per_node))
    return Cluster(
        gpu, nodes, per_node,
        gpus.assumed("network") if network is None else network,
        gpus.assumed("utilisation") if utilisation is None else utilisation / 100,
        cores, source,
    )  # fmt: skip
