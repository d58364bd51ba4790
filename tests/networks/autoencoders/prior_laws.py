"""The laws that both networks over codes must obey, run by each one's test file."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import nn

Make = Callable[..., nn.Module]


def randomised(model: nn.Module) -> nn.Module:
    """All parameters drawn at random, so that no path is closed by a zero."""
    for p in model.parameters():
        nn.init.normal_(p, std=0.5)
    return model.eval()


def causality(make: Make, shape: tuple[int, int]) -> None:
    """Logits at i (raster order) do not depend on codes >= i, and do depend on every code < i."""
    model = randomised(make(11, shape, num_classes=3)).double()
    codes, label = torch.randint(11, (1, *shape)), torch.tensor([1])
    with torch.no_grad():
        reference = model(codes, label).flatten(2)[0]  # (K, hw)
        for j in range(codes.numel()):
            changed = codes.clone()
            changed.view(-1)[j] = (changed.view(-1)[j] + 1) % 11
            moved = (model(changed, label).flatten(2)[0] - reference).abs().amax(0) > 0
            assert not moved[: j + 1].any(), f"position {j} is seen at or before itself"
            assert moved[j + 1 :].all(), f"blind to position {j}: {(~moved).nonzero().tolist()}"


def every_grid_sums_to_one(make: Make) -> None:
    """The probabilities of all 3^4 grids of 2 x 2 codes add up to 1."""
    model = randomised(make(3, (2, 2), num_classes=2)).double()
    grids = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)
    for label in (0, 1, -1):
        log_p = model(grids, torch.full((81,), label)).log_softmax(1)
        total = log_p.gather(1, grids[:, None]).flatten(1).sum(1).exp().sum()
        torch.testing.assert_close(total, torch.ones_like(total))


def samples_follow_the_model(make: Make) -> None:
    """Frequencies of 1 x 2 and 2 x 1 grids of drawn codes match their probabilities."""
    for shape in ((1, 2), (2, 1)):
        model = randomised(make(3, shape, num_classes=2))
        grids = torch.tensor(list(itertools.product(range(3), repeat=2))).view(-1, *shape)
        label = torch.ones(len(grids), dtype=torch.int64)
        log_p = model(grids, label).log_softmax(1).gather(1, grids[:, None]).flatten(1).sum(1)
        drawn = model.sample(20_000, torch.ones(20_000, dtype=torch.int64)).flatten(1)  # type: ignore[operator]
        frequency = torch.bincount(drawn @ torch.tensor([3, 1]), minlength=9) / 20_000
        torch.testing.assert_close(frequency, log_p.exp().detach(), rtol=0, atol=0.015)


def sampling_agrees_with_forward(make: Make, shape: tuple[int, int]) -> None:
    """Almost cold samples are the most probable codes that the plain forward pass names."""
    model = randomised(make(7, shape, num_classes=3))
    label = torch.tensor([0, 1, 2, -1])
    codes = model.sample(4, label, temperature=1e-4)  # type: ignore[operator]
    assert torch.equal(model(codes, label).argmax(1), codes)


def labels(make: Make) -> None:
    """A class matters; -1 and no label are the same; without classes no label is looked at."""
    codes = torch.randint(7, (2, 3, 3))
    model = randomised(make(7, (3, 3), num_classes=3))
    unknown = torch.tensor([-1, -1])
    assert torch.equal(model(codes, unknown), model(codes, None))
    assert not torch.allclose(model(codes, torch.tensor([0, 1])), model(codes, None))
    assert not torch.allclose(
        model(codes, torch.tensor([0, 1])), model(codes, torch.tensor([0, 2]))
    )
    free = randomised(make(7, (3, 3), num_classes=0))
    assert free(codes, None).shape == (2, 7, 3, 3)


def every_parameter_learns(make: Make) -> None:
    """A gradient reaches every parameter."""
    model = make(7, (4, 4), num_classes=2)
    codes, label = torch.randint(7, (3, 4, 4)), torch.tensor([0, 1, -1])
    for _ in range(2):  # biases behind zero-initialised weights need one step
        nn.functional.cross_entropy(model(codes, label), codes).backward()
    missing = [k for k, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not missing
