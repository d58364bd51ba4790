"""A plan as one table: rows of a name, an amount on each GPU and a note."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from genlab.cli.tables import bytes_of, time_of
from genlab.planning import gpus
from genlab.planning.step import VALIDATION

if TYPE_CHECKING:
    from genlab.planning.loading import Loading
    from genlab.planning.plan import Plan

Row = tuple[str, str, str]
NARROWEST, USUAL, WIDEST = 44, 80, 120  # columns
ABOUT = {  # parts of the memory whose names do not say it
    "guard": "copies, for a step that is not finite",
    "features": "of all images, encoded once",
    "gradient buckets": "of DDP",
    "metrics": "of validation and test, as AUROC's bins",
    "temporary": "of the backward pass",
}
MOMENTS = {"step": "a step", "start": "the start", "validation": "validation"}
SMALL = 0.001  # share of a sum below which parts stand together


def show(plan: Plan) -> None:
    """Print a plan."""
    from rich.console import Console
    from rich.table import Table

    cluster, wide = plan.cluster, _width()
    head = f"{plan.recipe}, {plan.precision}, on {cluster.nodes} x {cluster.per_node} {_gpu(plan)}"
    whole = f"global batch {plan.batch * cluster.world:,} = {plan.batch:,} x {_gpus(plan)}"
    print(_wrapped([head, whole], wide))
    table = Table(show_header=False, width=wide)
    table.add_column(max_width=24, overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for title, rows in sections(plan):
        table.add_section()
        table.add_row(f"[bold]{title[0]}", f"[bold]{title[1]}", f"[bold]{title[2]}")
        for row in rows:
            table.add_row(*row)
    Console(width=wide).print(table)
    print(_wrapped(remarks(plan), wide))


def _width() -> int:
    """Columns of the table: those of the terminal, within limits."""
    return max(NARROWEST, min(WIDEST, get_terminal_size((USUAL, 24)).columns))


def _wrapped(texts: Iterable[str], width: int) -> str:
    return "\n".join(line for text in texts for line in textwrap.wrap(text, width))


def _gpu(plan: Plan) -> str:
    """The GPU's kind and name; of one that only options describe, what they say."""
    gpu = plan.cluster.gpu
    if gpu.kind != gpus.OTHER:
        return f"{gpu.kind} ({gpu.name})"
    return f"GPU of {gpu.memory:g} GB and {plan.peak.tflops:g} TFLOPS"


def _gpus(plan: Plan) -> str:
    world = plan.cluster.world
    return f"{world:,} GPU{'s' if world > 1 else ''}"


def sections(plan: Plan) -> Iterator[tuple[Row, list[Row]]]:
    """The table's parts: a title and rows each."""
    moment = MOMENTS[plan.need.moment]
    yield ("memory of a GPU", "at the peak", f"of {moment}"), [*_memory(plan)]
    images = plan.step.images
    yield ("arithmetic", "a step", f"an image, {images:,} images a step"), [*_flops(plan)]
    if plan.step.collectives and plan.cluster.world > 1:
        yield ("communication", "a step", "calls, time, growth with N GPUs"), [*_exchanged(plan)]
    yield ("time", "a step", ""), [*_times(plan)]
    yield ("training", "", ""), [*_training(plan)]


def _memory(plan: Plan) -> Iterator[Row]:
    need, gpu, best = plan.need, plan.cluster.gpu, plan.largest
    for part, size in sorted(need.live.items(), key=lambda item: -item[1]):
        if size > SMALL * sum(need.live.values()):
            yield part, bytes_of(size), ABOUT.get(part, "")
    for moment, size in plan.step.peaks.items():
        shown = size >= plan.step.peak or moment == VALIDATION
        if moment != need.moment and shown:
            yield MOMENTS[moment], bytes_of(size), "at its own peak"
    allowed = sum(need.allowance.values())
    yield (
        "allowance",
        bytes_of(allowed),
        "assumed: "
        + ", ".join(f"{name} {bytes_of(size)}" for name, size in need.allowance.items()),
    )
    verdict = "fits" if plan.fits else "DOES NOT FIT"
    whose = "--memory" if gpu.kind == gpus.OTHER else gpu.kind
    yield "needed", bytes_of(need.total), f"{verdict} in {gpu.memory:g} GB ({whose})"
    yield "largest batch", f"{best.images:,}", _largest(plan)
    for change in plan.changes:
        verdict = "fits" if change.fits else "does not fit"
        yield "with", bytes_of(change.needed), f"{' '.join(change.settings)}: {verdict}"


def _largest(plan: Plan) -> str:
    best, world = plan.largest, plan.cluster.world
    if not best.images:
        if best.limit in MOMENTS:
            return f"images a GPU: {MOMENTS[best.limit]} does not fit, whatever the batch"
        return "images a GPU: not even the smallest batch fits"
    whole = f"images a GPU, data.batch_size={best.images * world}"
    if best.above is None:
        return f"{whole}; limit: {best.limit}"
    return f"{whole}; {best.above:,} need {bytes_of(best.needed_above or 0)}"


def _flops(plan: Plan) -> Iterator[Row]:
    every = sum(plan.step.flops.values())
    for part, count in sorted(plan.step.flops.items(), key=lambda item: -item[1]):
        if count > SMALL * every:
            yield part, flops_of(count), flops_of(count / plan.step.images)
    yield "in all", flops_of(every), flops_of(every / plan.step.images)


def flops_of(count: float) -> str:
    """``12.4 TFLOP``."""
    for unit in ("", "k", "M", "G", "T"):
        if count < 1000:
            return f"{count:.3g} {unit}FLOP"
        count /= 1000
    return f"{count:,.3g} PFLOP"


def _exchanged(plan: Plan) -> Iterator[Row]:
    from genlab.planning.hours import growth, seconds_of

    for one in plan.step.collectives:
        took = ms_of(seconds_of(one, plan.cluster))
        calls = f"{one.calls:,} call{'s' if one.calls > 1 else ''}"
        yield (
            _short(one.name),
            bytes_of(one.bytes),
            f"{one.kind}, {calls}, {took}; {growth(one, plan.step)[0]}",
        )


def _short(name: str) -> str:
    """``contrastive.nt_xent`` of a function's whole path; other names as they are."""
    return ".".join(name.split(".")[-2:])


def ms_of(seconds: float) -> str:
    """``12.5 ms``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} us"
    return f"{seconds * 1000:,.3g} ms" if seconds < 1 else f"{seconds:,.3g} s"


def _times(plan: Plan) -> Iterator[Row]:
    times, step, cluster, gpu = plan.times, plan.step, plan.cluster, plan.cluster.gpu
    rate = f"{plan.peak.tflops:g} TFLOPS ({plan.peak.label})"
    yield (
        "arithmetic",
        ms_of(times.arithmetic),
        f"{rate} x {cluster.utilisation:.0%} {_whose(plan)}",
    )
    if times.memory is not None:
        moved = f"{bytes_of(step.moved)} that operations read and write, each for itself"
        yield "memory", ms_of(times.memory), f"{moved}, at {gpu.bandwidth:,.0f} GB/s"
    start = f"{gpus.assumed('kernel'):g} us each on the host, assumed"
    yield "kernels", ms_of(times.kernels), f"{step.kernels:,} started, {start}"
    if cluster.world > 1:
        place = f"{gpu.wire} in the node" if cluster.nodes == 1 else "between nodes, assumed"
        shown = f"{ms_of(times.exposed)} of it not behind the backward pass"
        ring = f"ring at {cluster.link:g} GB/s, {place}"
        yield "interconnect", ms_of(times.interconnect), f"{shown}; {ring}"
    if plan.loading is not None and times.loader is not None:
        yield "loader", ms_of(times.loader), _loader(plan, plan.loading)
    yield (
        "step",
        ms_of(times.step),
        f"[bold]{times.binds}[/bold] bind{'s' * (times.binds != 'kernels')}",
    )


def _whose(plan: Plan) -> str:
    """Origin of the utilisation: assumed, or the user's."""
    return "assumed" if plan.cluster.utilisation == gpus.assumed("utilisation") else "given"


def _loader(plan: Plan, loading: Loading) -> str:
    wanted, rate = plan.step.images / plan.times.on_gpu, loading.images_per_second
    cores = f"{rate:,.0f} a core here ({loading.kind}, measured) x {_cores(plan, loading)}"
    needs = f"; {wanted / rate:,.1f} would do" if loading.workers != 0 else ""
    return f"{wanted:,.0f} images/s wanted; {cores}{needs}"


def _cores(plan: Plan, loading: Loading) -> str:
    count, given = loading.cores(plan.cluster.cores), plan.cluster.cores
    source = f", {plan.cluster.cores_from}" if count == given and loading.workers != 0 else ""
    return f"{count:g} core{'s' if count > 1 else ''}{source}"


def _training(plan: Plan) -> Iterator[Row]:
    hours, length = plan.hours, plan.length
    if not plan.fits:
        yield "time", "none", "it does not fit: plan a batch or a change that does"
        return
    yield "images/s", f"{hours.images_per_second:,.0f}", f"on {_gpus(plan)}"
    count = "" if length.images is None else f"{length.images:,} images: "
    if hours.epochs_per_hour is None:
        yield "epochs/h", "unknown", length.source
    else:
        yield "epochs/h", count_of(hours.epochs_per_hour), f"{count}{length.source}"
    if hours.hours is None or hours.gpu_hours is None:
        yield "time", "unknown", length.limit
        return
    yield "time", time_of(hours.hours), f"{length.steps:,} steps: {length.limit}"
    yield "GPU-hours", count_of(hours.gpu_hours), "without validation, checkpoints, waiting"


def count_of(number: float) -> str:
    """``12,345``, ``1.23`` or ``< 0.001``."""
    if 0 < number < 1e-3:
        return "< 0.001"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def remarks(plan: Plan) -> Iterator[str]:
    """Lines below the table: whose numbers these are."""
    from genlab.planning.plan import ESTIMATE

    whose = f"utilisation {_whose(plan)} at {plan.cluster.utilisation:.0%}"
    yield f"{ESTIMATE}; {whose}"
    yield from plan.step.notes
    yield f"peaks: {plan.cluster.gpu.source}; all assumptions: --json"
    if plan.peak.note:
        yield plan.peak.note
    for place in plan.step.reads:
        yield f"the step reads a value at {place}, taken for 1 here: a GPU has to wait there"
