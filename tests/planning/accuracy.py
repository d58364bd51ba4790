"""Plans against real trainings on this machine: ``python -m tests.planning.accuracy`` makes a page.

With names of recipes, or ``formulas``, it makes those rows anew. Every figure is of one optimiser
step. No figure is of a GPU.
"""

from __future__ import annotations

import sys
import tempfile
from typing import NamedTuple

import torch

from genlab import recipes
from genlab.planning.fake import fake_step
from genlab.planning.step import Step
from genlab.recipes import Recipe
from genlab.testing.ranks import Ranks
from tests.planning import forms, wire
from tests.planning.accuracy_page import FORMS, MEMORY, PAGE, SENT, line, merged
from tests.planning.forms import Form
from tests.planning.profiled import Peak, profiled_peak
from tests.planning.real import real_step

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
    ("linear/digits", "model.encoder=small_cnn"),  # features of all images are kept
    ("linear/cifar10", "data.batch_size=64", "model.encoder=resnet18"),
]
WORLDS = (2, 4)
MIB, GIGA = 2**20, 1e9


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


def key(words: tuple[str, ...]) -> str:
    """First cell of a case's rows."""
    return f"`{' '.join(words)}`"


def line_of_memory(one: Row) -> str:
    """Peak and arithmetic."""
    plan, real = one.plan.peak, one.real.peak
    flops = sum(one.plan.flops.values()) / GIGA
    equal = one.plan.flops == one.real.flops
    cells = (
        key(one.words), f"{plan / MIB:.2f}", f"{real / MIB:.2f}",
        f"{plan / real - 1:+.2%}", f"{one.peak.all / MIB:.2f}", f"{plan / one.peak.all - 1:+.1%}",
        f"{plan / one.peak.results - 1:+.1%}", f"{flops:.3f}", "yes" if equal else "no",
    )  # fmt: skip
    return line(*cells)


def line_of_sent(one: Row) -> str:
    """Bytes and calls of collectives."""
    cells = [key(one.words)]
    for plan, sent in zip(one.planned, one.sent, strict=True):
        cells += [total(plan), total(sent), "yes" if plan == sent else "no"]
    return line(*cells)


def total(sent: wire.Sent) -> str:
    """Calls and bytes of all collectives together."""
    calls, size = map(sum, zip(*sent.values(), strict=True))
    return f"{calls} x, {size:,} B"


def line_of_form(form: Form) -> str:
    """A formula and what a plan counts."""
    counted = form.counted()
    ratio = f"{counted / form.value:.4f}"
    return line(form.name, form.text, f"{form.value / GIGA:.4g}", f"{counted / GIGA:.4g}", ratio)


def write(**new: list[str]) -> None:
    """Put rows into the page."""
    cases = [key(words) for words in CASES]
    order = {MEMORY: cases, SENT: cases, FORMS: [form.name for form in forms.FORMS]}
    text = PAGE.read_text() if PAGE.exists() else ""
    sections = {"memory": MEMORY, "sent": SENT, "forms": FORMS}
    PAGE.write_text(merged(text, {sections[name]: some for name, some in new.items()}, order))


def main() -> int:
    """Write the page, or the rows of the recipes that are named; a row that fails stays as it is.

    Returns:
        1 if a row failed.
    """
    torch.set_num_threads(1)
    wanted, failed = sys.argv[1:], 0
    with Ranks() as pool:
        for words in CASES:
            if wanted and words[0] not in wanted:
                continue
            try:
                one = row(pool, words)
                memory, exchanged = line_of_memory(one), line_of_sent(one)
            except Exception as error:
                failed = 1
                print(f"{key(words)}: {type(error).__name__}: {error}", file=sys.stderr)
                continue
            write(memory=[memory], sent=[exchanged])
    if not wanted or "formulas" in wanted:
        write(forms=[line_of_form(form) for form in forms.FORMS])
    return failed


if __name__ == "__main__":
    sys.exit(main())
