"""Plans of methods that read values: an answer where there is one, else a refusal with its line."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from genlab import recipes
from genlab.errors import RecipeError
from genlab.planning import reads
from genlab.planning.counting import Counting
from genlab.planning.fake import fake_step
from tests.planning import faulty_methods as faulty


def planned(kind: Any) -> Any:
    words = [f"model.class_path={kind.__module__}.{kind.__qualname__}", "data.batch_size=8"]
    return fake_step(recipes.resolve(["simclr/digits"], [*words, "model.encoder=small_cnn"]))


def line(kind: Any, text: str) -> str:
    rows, first = inspect.getsourcelines(kind)
    number = next(k for k, row in enumerate(rows) if text in row)
    return f"{Path(inspect.getfile(kind)).relative_to(Path.cwd())}:{first + number}"


def test_a_step_that_writes_values_down_is_planned_and_says_where() -> None:
    step = planned(faulty.KeepsItsLoss)
    assert step.peak > 0
    places = [line(faulty.KeepsItsLoss, text) for text in ("float(", ".numpy()")]
    assert step.reads == tuple(places)


def test_a_step_whose_shapes_depend_on_values_is_refused_with_its_line() -> None:
    with pytest.raises(RecipeError) as caught:
        planned(faulty.CountsByMask)
    what, where, _ = str(caught.value).splitlines()
    assert "reads values here (nonzero)" in what
    assert line(faulty.CountsByMask, "nonzero") in where


def test_what_is_read_once_before_the_first_step_delays_none() -> None:
    """MAF asks whether it is whitened."""
    assert fake_step(recipes.resolve(["maf/digits"], ["data.batch_size=8"])).reads == ()


def test_an_error_behind_a_read_names_the_read() -> None:
    with pytest.raises(RecipeError, match="takes for 1, and stops: ValueError: too") as caught:
        planned(faulty.RefusesALoss)
    assert line(faulty.RefusesALoss, "item()") in str(caught.value)


def test_numbers_of_every_type_are_answered() -> None:
    with FakeTensorMode(), reads.arrays(), Counting() as count:
        for dtype in (torch.float32, torch.int64, torch.bool, torch.float16):
            tensor = torch.empty(2, 3, dtype=dtype)
            assert tensor.numpy().shape == (2, 3)
            assert tensor.numpy().dtype == np.dtype(str(dtype).removeprefix("torch."))
            assert type(tensor[0, 0].item())(1) == tensor[0, 0].item() == 1
        assert torch.empty(0).numpy().shape == (0,)
        assert torch.tensor(5).item() == 5
        assert bool(torch.empty(()) > 3)
    assert len(count.reads) == 4  # lines
    assert torch.ones(2).numpy().sum() == 2
