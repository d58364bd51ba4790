"""NT-Xent of a large batch: memory, time and values against the plain form."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor

from genlab import losses
from tests.benchmarks.timing import compare

pytestmark = pytest.mark.benchmarks
N = 4096


def plain(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """All similarities at once, as papers' repositories write it."""
    z = F.normalize(torch.cat([z1, z2]))
    logits = z @ z.T / temperature
    logits = logits.masked_fill(torch.eye(len(z), dtype=torch.bool), float("-inf"))
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


FORMS = {"plain": plain, "nt_xent": losses.nt_xent}


def embeddings() -> list[Tensor]:
    """Two views' of 4096 images, related."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(N, 128, generator=generator)
    second = first + torch.randn(N, 128, generator=generator)
    return [first.requires_grad_(), second.requires_grad_()]


def gradients(form: str) -> list[Tensor]:
    """Loss and its gradient by both views."""
    z = embeddings()
    loss = FORMS[form](z[0], z[1], 0.2)
    return [loss.detach(), *torch.autograd.grad(loss, z)]


def resident() -> float:
    """Most memory that this process has had at a time, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()  # getrusage tells the parent's too
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def peak(_: int, form: str, path: str) -> None:
    """MiB of resident memory that a loss with its gradient adds, in a process of its own."""
    torch.set_num_threads(1)
    first, second = embeddings()
    FORMS[form](first[:64], second[:64], 0.2).backward()
    before = resident()
    gradients(form)
    Path(path).write_text(str(resident() - before))


def test_a_large_batch_takes_a_fraction_of_the_memory_and_no_more_time(tmp_path: Path) -> None:
    added = {}
    for form in FORMS:
        mp.spawn(peak, args=(form, str(tmp_path / form)), nprocs=1)
        added[form] = float((tmp_path / form).read_text())
    fewer = added["plain"] / added["nt_xent"]
    print(
        f"\nNT-Xent of {N} images: plain {added['plain']:.0f} MiB, here "
        f"{added['nt_xent']:.0f} MiB; {fewer:.1f}x less"
    )
    assert fewer >= 5
    name = f"NT-Xent of {N} images with its gradient: plain against here"
    assert compare(name, lambda: gradients("plain"), lambda: gradients("nt_xent"), rounds=5) > 1


def test_loss_and_gradient_are_those_of_the_plain_form() -> None:
    (slow, *slows), (loss, *ours) = gradients("plain"), gradients("nt_xent")
    off = [float((a - b).norm() / b.norm()) for a, b in zip(ours, slows, strict=True)]
    print(f"\nloss off by {float((loss / slow - 1).abs()):.1e}, gradient by {max(off):.1e}")
    assert float((loss / slow - 1).abs()) < 1e-6
    assert max(off) < 1e-6
