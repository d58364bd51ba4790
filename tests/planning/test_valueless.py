"""Tensors without values where code expects some."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from genlab import recipes
from genlab.planning.fake import fake_step
from genlab.planning.valueless import copied
from tests.planning import faulty_methods as faulty


def test_deep_copies_have_shapes_and_no_values() -> None:
    with FakeTensorMode() as mode:
        layer = nn.Linear(3, 2)
        tied = {"a": layer.weight, "b": layer.weight, "c": torch.empty(4, 2).t()}
    with copied(), mode:
        found = copy.deepcopy(tied)
    assert found["a"] is found["b"] is not layer.weight
    assert isinstance(found["a"], nn.Parameter)
    assert found["c"].stride() == (1, 2)
    assert isinstance(found["c"], FakeTensor)
    with copied():
        assert copy.deepcopy(torch.ones(2)).tolist() == [1, 1]


def test_a_step_that_makes_metrics_is_planned() -> None:
    kind = f"{faulty.__name__}.{faulty.MakesMetrics.__name__}"
    words = [f"model.class_path={kind}", "data.batch_size=8", "model.encoder=small_cnn"]
    step = fake_step(recipes.resolve(["simclr/digits"], words))
    assert step.peak > 0
    assert step.reads  # a mean looks for NaN
