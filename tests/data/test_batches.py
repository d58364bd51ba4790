"""Batches without a Trainer: what a loop of one's own gets."""

from __future__ import annotations

import doctest

import torch

from genlab.data import Digits, images


def test_the_example_in_the_docstring_runs() -> None:
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(images.Images.batches, "batches", globs={})
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


def test_batches_are_ready_for_a_step_and_epochs_differ() -> None:
    data = Digits(batch_size=32, views="simclr")
    first, again, other = (list(data.batches("train", epoch)) for epoch in (0, 0, 1))
    assert all(batch["image"].dtype == torch.float32 for batch in first)
    assert len(first[0]["views"]) == 2
    assert torch.equal(first[0]["views"][0], again[0]["views"][0])
    assert not torch.equal(first[0]["index"], other[0]["index"])
    held = list(data.batches("val"))
    assert "views" not in held[0]
    assert held[0]["image"].max() <= 1
    assert sum(len(batch["label"]) for batch in held) == len(data.splits()["val"])


def test_few_labels_give_both_streams() -> None:
    data = Digits(batch_size=10, labels=20, unlabeled_ratio=2, steps_per_epoch=3)
    batches = list(data.batches("train"))
    assert len(batches) == 3
    assert len(batches[0]["unlabeled"]["views"][0]) == 20
