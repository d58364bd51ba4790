"""What FixMatch's step costs against its operations written out; run alone, `make bench`."""

from __future__ import annotations

import statistics
import time

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.contracts import Batch
from genlab.methods.fixmatch import FixMatch

pytestmark = pytest.mark.benchmarks
LABELED, UNLABELED, PAIRS = 16, 112, 20


def batch(device: torch.device) -> Batch:
    image, weak, strong = (
        torch.rand(n, 3, 32, 32, device=device) for n in (LABELED, UNLABELED, UNLABELED)
    )
    label = torch.randint(10, (LABELED,), device=device)
    unknown = torch.randint(10, (UNLABELED,), device=device)
    index = torch.arange(UNLABELED, device=device)
    unlabeled: Batch = {"views": [weak, strong], "label": unknown, "index": index}
    return {"labeled": {"image": image, "label": label}, "unlabeled": unlabeled}


def bare_loss(method: FixMatch, given: Batch) -> Tensor:
    """The paper's algorithm box and nothing else."""
    weak, strong = given["unlabeled"]["views"]
    images = torch.cat([given["labeled"]["image"], weak, strong])
    logits = method.head(method.encoder(images))
    q = logits[LABELED : LABELED + UNLABELED].detach().softmax(1)
    confidence, target = q.max(1)
    nll = F.cross_entropy(logits[LABELED + UNLABELED :], target, reduction="none")
    labelled = F.cross_entropy(logits[:LABELED], given["labeled"]["label"])
    return labelled + ((confidence >= 0.95) * nll).mean()


def test_a_step_costs_at_most_a_twentieth_more_than_its_operations() -> None:
    """WRN-28-2, 16 labelled images, mu = 7: 20 alternating pairs in one process."""
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    method = FixMatch(encoder_kwargs={"variant": "fixmatch"}).to(device)
    optimizer = torch.optim.SGD(method.parameters(), 0.03, momentum=0.9, nesterov=True)
    given = batch(device)

    def seconds(ours: bool) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.process_time() if device.type == "cpu" else time.perf_counter()
        optimizer.zero_grad()
        loss = method.training_step(given, 0)["loss"] if ours else bare_loss(method, given)
        loss.backward()
        optimizer.step()
        if ours:
            method.after_step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return (time.process_time() if device.type == "cpu" else time.perf_counter()) - start

    seconds(True), seconds(False)
    pairs = [(seconds(True), seconds(False)) for _ in range(PAIRS)]
    ours, bare = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"\nFixMatch, WRN-28-2: {1000 * ours:.0f} ms a step, bare {1000 * bare:.0f}: {ratio:.3f}x"
    )
    assert ratio <= 1.05
