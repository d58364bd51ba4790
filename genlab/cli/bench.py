"""``bench``: where the time of a recipe's training step goes.

What happens between steps is left out: validation, checkpoints, images, the progress bar.
"""

from __future__ import annotations

import json as json_format
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import recipes
from genlab.cli.arguments import split_words
from genlab.errors import RecipeError
from genlab.internals import lightning_parts
from genlab.training.endings import input_errors

if TYPE_CHECKING:
    from genlab.training.building import Lab

FOR_TIMING = {  # nothing of these belongs to a step
    "trainer.max_epochs": -1,
    "trainer.max_steps": 10_000_000,
    "trainer.limit_val_batches": 0,
    "checkpoint.monitor": "null",
    "track.wandb": "off",
}


def bench_options(parser: ArgumentParser) -> None:
    """Time of a training step by phase, compared with a bare loop.

    The bare loop is the same method, networks, batches and augmentation without trainer, callbacks
    and metrics. On a CPU milliseconds are CPU time over all threads, which does not see waiting
    (disk, network, workers, other programs): the wall clock's row does. Validation, checkpoints
    and images do not count.
    """
    parser.add_argument("words", nargs="+", metavar="RECIPE|FILE.yaml|key=value")
    parser.add_argument("--steps", type=int, default=40, help="measured, after the warm-up (40)")
    parser.add_argument("--warmup", type=int, default=10, help="steps that do not count (10)")
    parser.add_argument("--json", action="store_true", help="print JSON only")


def bench(words: list[str], steps: int, warmup: int, json: bool) -> None:
    """Time steps of the real fit loop, each next to the same step of a bare loop."""
    for option, value, least in (("--steps", steps, 2), ("--warmup", warmup, 1)):
        if value < least:
            raise RecipeError(f"{option} {value} must be at least {least}")
    files, overrides = split_words(words)
    for key in (word.partition("=")[0] for word in overrides):
        if key in FOR_TIMING:
            raise RecipeError(f"bench sets {key} itself: leave it out", "the command line")
    extra = [f"{key}={value}" for key, value in FOR_TIMING.items()]
    recipe = recipes.resolve(files, overrides + extra)
    recipes.check_keys(recipe)

    from genlab.training.engine.safe_requeue import Stopped

    with tempfile.TemporaryDirectory() as folder:
        try:
            figures = _measure(recipe, Path(folder), steps, warmup)
        except Stopped as stop:
            print(f"genlab: {stop}; nothing was measured", file=sys.stderr)
            sys.exit(stop.exit_code)
    figures = {"recipe": " + ".join([recipe.name, *files[1:]]), "settings": overrides} | figures
    if json:
        print(json_format.dumps(figures, indent=2))
    else:
        _print(figures)


def _measure(recipe: recipes.Recipe, folder: Path, steps: int, warmup: int) -> dict[str, Any]:
    import torch

    from genlab.training.building import build
    from genlab.training.profile.steps import StepTimer, matmul_peak, timed_batches

    lab = build(recipe, folder)
    (folder / "checkpoints").mkdir()
    lab.data.trainer = lab.trainer
    with input_errors(recipe):
        lab.data.prepare_data()
        lab.data.setup("fit")
        loader = lab.data.train_dataloader()
    if lab.trainer.world_size > 1:
        raise RecipeError("bench times one process: trainer.devices=1")
    if lab.trainer.accumulate_grad_batches > 1:
        raise RecipeError("bench times a batch a step: trainer.accumulate_grad_batches=1")
    lightning_parts.set_loggers(lab.trainer, lab.tracking.started(folder, recipe.name, lab.config))
    lab.checkpoints.every_n_seconds = float("inf")
    timer = StepTimer(steps, warmup)
    lab.trainer.callbacks.append(timer)  # type: ignore[attr-defined]
    _leave_out(lab.trainer)
    print(f"{recipe.name}: {warmup} + {steps} steps ...", file=sys.stderr)
    with timed_batches(type(loader), timer):
        lab.trainer.fit(lab.model, datamodule=lab.data)
    if not timer.pairs:
        what = f"no step was measured: training ended within the {warmup} of the warm-up"
        raise RecipeError(what, f"{recipe.origin('trainer')}, trainer", "--warmup with fewer steps")
    device = lab.model.device
    halves = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    dtype = halves.get(str(lab.trainer.precision), torch.float32)
    peak = matmul_peak(device, dtype)
    figures: dict[str, Any] = {
        "device": _device(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "clock": "GPU events" if device.type == "cuda" else "process CPU time",
    } | timer.figures()
    figures["images_per_step"] = _images(lab)
    figures["images_per_second_wall"] = figures["images_per_step"] / figures["wall_ms"] * 1000
    figures["peak_memory_mb"] = _memory(device)
    figures["matmul_peak_gflops"] = peak / 1e9
    figures["matmul_peak_dtype"] = str(dtype).removeprefix("torch.")
    figures["share_of_matmul_peak"] = figures["flops_per_step"] / figures["fit_ms"] * 1000 / peak
    return figures


def _leave_out(trainer: Any) -> None:
    """No images between steps, and no bar, whose end is ten million steps away."""
    names = ("Film", "ViewPictures", "ProgressReport")
    trainer.callbacks[:] = [c for c in trainer.callbacks if type(c).__name__ not in names]


def _images(lab: Lab) -> int:
    """Images of a step, those without labels included."""
    size = int(getattr(lab.data, "batch_size", 0))
    few = getattr(lab.data, "few", None)
    return size * (1 + few.plan.ratio) if few else size


def _device(device: Any) -> str:
    import platform

    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU"


def _memory(device: Any) -> float:
    """Largest of the process so far, resident, or on the GPU."""
    import resource

    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _print(figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    print(
        f"{figures['recipe']}: a step by {figures['clock']}, {figures['threads']} "
        f"thread{'s' if figures['threads'] > 1 else ''}, {figures['device']}"
    )
    for column in ("", "ms", "share"):
        table.add_column(column, justify="left" if not column else "right")
    phases = figures["phases_ms"]
    total = sum(phases.values())
    for name, value in phases.items():
        table.add_row(name, f"{value:.2f}", f"{value / total:.1%}")
    table.add_row(f"mean of {figures['phase_steps']} steps", f"{total:.2f}", "")
    table.add_section()
    table.add_row("fit loop, median", f"{figures['fit_ms']:.2f}", "")
    table.add_row("bare loop, median", f"{figures['bare_ms']:.2f}", "")
    table.add_row("fit loop by the wall clock, mean", f"{figures['wall_ms']:.2f}", "")
    Console().print(table)
    print(
        f"fit / bare {figures['ratio']:.3f} ({figures['extra_ms']:+.2f} ms; over "
        f"{figures['steps']} alternating steps)\n"
        f"{figures['images_per_second_wall']:,.0f} images/s by the wall clock, "
        f"{figures['images_per_step']} images a step\n"
        f"{figures['flops_per_step'] / 1e9:.2f} GFLOP a step, "
        f"{figures['share_of_matmul_peak']:.0%} of the {figures['matmul_peak_gflops']:,.0f} "
        f"GFLOP/s of a large {figures['matmul_peak_dtype']} matrix product here\n"
        f"peak memory {figures['peak_memory_mb']:,.0f} MB, both loops together"
    )
