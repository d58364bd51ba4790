"""Plans against real trainings on this machine: ``python -m tests.planning.accuracy`` makes a page.

Every figure is of one optimiser step. No figure is of a GPU.
"""

from __future__ import annotations

import datetime
import platform
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import lightning
import torch

from genlab import recipes
from genlab.planning.fake import fake_step
from genlab.planning.step import Step
from genlab.recipes import Recipe
from genlab.testing.ranks import Ranks
from tests.planning import wire
from tests.planning.profiled import Peak, profiled_peak
from tests.planning.real import real_step

PAGE = Path(__file__).parents[2] / "docs/explanation/plan-accuracy.md"
VIT = ("model.encoder=vit_tiny_patch16_224", "model.encoder_kwargs={patch_size: 4}")
CASES: list[tuple[str, ...]] = [
    ("vae/mnist",),
    ("cvae/mnist",),
    ("vqvae/cifar10", "data.batch_size=16"),
    ("vq_prior/digits",),
    ("wgan_gp/cifar10_small", "data.batch_size=16"),
    ("glow/cifar10_small", "data.batch_size=8"),
    ("realnvp/digits",),
    ("simclr/cifar10", "data.batch_size=16"),
    ("moco/cifar10", "data.batch_size=64"),  # groups of two images at four processes
    ("moco_v3/digits",),
    ("moco_v3/cifar10", "data.batch_size=8", *VIT),
    ("byol/digits",),
    ("barlow_twins/digits",),
    ("simsiam/cifar10", "data.batch_size=16"),
    ("fixmatch/cifar10_250", "data.batch_size=4"),
    ("classifier/cifar10_resnet18", "data.batch_size=16"),
    ("classifier/cifar10_resnet18", "data.batch_size=16", "trainer.accumulate_grad_batches=4"),
    ("classifier/mnist", "trainer.precision=bf16-mixed"),
    ("linear/cifar10", "data.batch_size=64", "model.encoder=resnet18"),
]
WORLDS = (2, 4)
MIB, KIB, GIGA = 2**20, 2**10, 1e9


class Row(NamedTuple):
    """A recipe's figures: of the plan, of a real training, of the profiler, of gloo processes."""

    words: tuple[str, ...]
    plan: Step
    real: Step
    peak: Peak
    planned: list[wire.Sent]
    sent: list[wire.Sent]


def recipe_of(words: tuple[str, ...]) -> Recipe:
    """The recipe of a case, on one process of this machine."""
    return recipes.resolve([words[0]], [*words[1:], "trainer.sync_batchnorm=false"])


def planned(words: tuple[str, ...], world: int) -> wire.Sent:
    """What the plan says of `wire.sent`, under its names."""
    found: wire.Sent = {}
    for one in fake_step(recipe_of(words), world).collectives:
        name = wire.BACK if one.name.endswith(", gradient") else one.name
        calls, size = found.get((name, one.kind), (0, 0))
        found[name, one.kind] = calls + one.calls, size + one.bytes
    return found


def really_sent(pool: Ranks, words: tuple[str, ...], world: int) -> wire.Sent:
    """What every one of ``world`` processes sends.

    Raises:
        ValueError: they differ.
    """
    with tempfile.TemporaryDirectory() as folder:
        given = [*words, "trainer.sync_batchnorm=false"]
        every = pool.run("tests.planning.wire:sent", world, f"{folder}/meeting", given)
    if any(one != every[0] for one in every):
        raise ValueError(f"{words[0]}: ranks send different things")
    found: wire.Sent = every[0]
    return found


def row(pool: Ranks, words: tuple[str, ...]) -> Row:
    """All figures of a case."""
    plan, real = fake_step(recipe_of(words)), real_step(recipe_of(words))
    peak = profiled_peak(recipe_of(words))
    plans = [planned(words, world) for world in WORLDS]
    return Row(words, plan, real, peak, plans, [really_sent(pool, words, w) for w in WORLDS])


def page(rows: list[Row]) -> str:
    """The page of the documentation."""
    lines = [line_of_memory(one) for one in rows]
    sent = [line_of_sent(one) for one in rows]
    versions = f"torch {torch.__version__}, Lightning {lightning.__version__}"
    python = f"Python {platform.python_version()} on {platform.machine()}"
    return TEXT.format(
        date=datetime.date.today(), versions=f"{versions}, {python}",
        head=f"| {' | '.join(HEAD)} |", memory="\n".join(lines), sent="\n".join(sent),
    )  # fmt: skip


def line_of_memory(one: Row) -> str:
    """Peak and arithmetic."""
    plan, real = one.plan.peak, one.real.peak
    flops = sum(one.plan.flops.values()) / GIGA
    equal = one.plan.flops == one.real.flops
    cells = (
        f"`{' '.join(one.words)}`", f"{plan / MIB:.2f}", f"{real / MIB:.2f}",
        f"{plan / real - 1:+.2%}", f"{one.peak.all / MIB:.2f}", f"{plan / one.peak.all - 1:+.1%}",
        f"{plan / one.peak.results - 1:+.1%}", f"{flops:.3f}", "yes" if equal else "no",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def line_of_sent(one: Row) -> str:
    """Bytes and calls of collectives."""
    cells = [f"`{one.words[0]}`"]
    for plan, sent in zip(one.planned, one.sent, strict=True):
        cells += [total(plan), total(sent), "yes" if plan == sent else "no"]
    return f"| {' | '.join(cells)} |"


def total(sent: wire.Sent) -> str:
    """Calls and bytes of all collectives together."""
    calls, size = map(sum, zip(*sent.values(), strict=True))
    return f"{calls} x, {size:,} B"


HEAD = (
    "recipe", "plan, MiB", "real, MiB", "plan/real", "profiler, MiB", "plan/profiler",
    "without scratch", "GFLOP", "FLOPs equal real",
)  # fmt: skip
TEXT = """# Plans against real trainings

`genlab plan` counts a step without values. Here the same steps were taken with values, on a CPU, at
sizes that two cores bear. `python -m tests.planning.accuracy` makes this page.
{date}, {versions}. Nothing here was measured on a GPU.

Every value is of one optimiser step. The real training takes a device's way: the guard against NaN
undoes late, nothing is looked at on the host, and autocast has CUDA's types. Batch norm is not
synchronised.

## Memory and arithmetic

*Real* is the same count of live tensors in a real training. *Profiler* is the most that torch's
profiler reports as allocated in the second step, with what lives since before. It includes scratch
memory of the CPU's kernels and the loader's batch on the host, which a plan leaves out. *Without
scratch* leaves out what convolutions allocate and free themselves.

{head}
|---|---|---|---|---|---|---|---|---|
{memory}

Where views are drawn, the numbers of images of each operation differ from draw to draw, and the
plan takes equal ones.

## Collectives

*Sent* is what each of two and four gloo processes puts into its process group in the third step:
a group that counts stands between PyTorch and gloo. *Equal* compares calls and bytes under each
name.
Flags of stop signals go round after every step here; a long training compares them less often.

| recipe | 2: plan | sent | equal | 4: plan | sent | equal |
|---|---|---|---|---|---|---|
{sent}
"""


def main() -> None:
    """Write the page; a case's first words choose."""
    torch.set_num_threads(1)
    chosen = [words for words in CASES if not sys.argv[1:] or words[0] in sys.argv[1:]]
    rows = []
    with Ranks() as pool:
        for words in chosen:
            rows.append(row(pool, words))
            print(line_of_memory(rows[-1]), line_of_sent(rows[-1]), flush=True)
    if not sys.argv[1:]:
        PAGE.write_text(page(rows))


if __name__ == "__main__":
    main()
