"""Chow-Liu trees: a known tree is found, and eight published results are reached."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

import pytest
import torch

from genlab.data import BinaryDensity
from genlab.metrics import chow_liu_tree

PUBLISHED = {  # nats, test: Lowd & Davis 2010, Van Haaren & Davis 2012
    "nltcs": -6.76, "plants": -16.52, "baudio": -44.37, "jester": -58.23, "bnetflix": -60.25,
    "accidents": -33.17, "pumsb_star": -30.81, "dna": -87.70,
}  # fmt: skip


def chain(n: int) -> torch.Tensor:
    """x1 copies x0, x2 copies x0, x3 copies x2, nine times of ten."""
    torch.manual_seed(0)
    flips = (torch.rand(n, 4) < torch.tensor([0.5, 0.1, 0.1, 0.1])).long()
    x0 = flips[:, 0]
    x2 = (x0 + flips[:, 2]) % 2
    return torch.stack([x0, (x0 + flips[:, 1]) % 2, x2, (x2 + flips[:, 3]) % 2], 1)


def test_a_tree_is_found_with_its_likelihood() -> None:
    x = chain(20_000)
    tree = chow_liu_tree(x)
    assert tree.parent.tolist() == [0, 0, 0, 2]
    every = torch.tensor(list(product([0, 1], repeat=4)))
    assert tree.log_prob(every).exp().sum().item() == pytest.approx(1.0, abs=1e-12)
    entropy = 0.6931 + 3 * 0.3251  # log 2 + 3 H(.1)
    assert tree.log_prob(x).mean().item() == pytest.approx(-entropy, abs=0.02)


def test_values_that_never_occur_keep_a_probability() -> None:
    tree = chow_liu_tree(torch.zeros(9, 2))
    assert tree.log_prob(torch.ones(1, 2)).item() == pytest.approx(
        torch.tensor(0.25 / 10).log().item(), rel=1e-6
    )


def test_other_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="Chow-Liu requires vectors"):
        chow_liu_tree(torch.rand(4, 3))


@pytest.mark.parametrize("kind", PUBLISHED)
def test_published_results_are_reached(kind: str) -> None:
    root = Path(os.environ.get("GENLAB_DATA", "nowhere"))
    if not (root / "density").is_dir():
        pytest.skip("GENLAB_DATA has no density")
    data = BinaryDensity(kind, root=str(root))
    train, test = (
        torch.cat([batch["image"] for batch in data.bank_dataloader(part)]).flatten(1)
        for part in ("train", "test")
    )
    found = chow_liu_tree(train).log_prob(test).mean().item()
    assert found == pytest.approx(PUBLISHED[kind], abs=0.03)
