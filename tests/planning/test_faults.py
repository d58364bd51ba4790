"""Faults that appear on GPUs, found without one: what it is, and in which line."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from genlab import checkpoints, recipes
from genlab.errors import RecipeError
from genlab.planning import faults
from genlab.planning.batches import FEW, Given, own_batch, resized
from genlab.planning.exam import Fault
from genlab.testing import Case, case
from genlab.testing.running import quiet_trainer
from tests.planning import faulty_methods as faulty


@pytest.fixture(scope="module")
def simclr() -> Case:
    return case(["simclr/digits"])


def found(base: Case, kind: Any, folder: Path, find: Any) -> list[Fault]:
    arguments = checkpoints.spec(base.method)["init_args"]

    def make(callback: L.Callback) -> Any:
        trainer = quiet_trainer(folder, callback, max_epochs=1, log_every_n_steps=10**6)
        return kind(**arguments), base.fresh_data(), trainer

    every: list[Fault] = find(make, ready=base.batches[0])
    return every


def line(kind: Any, text: str) -> str:
    lines, first = inspect.getsourcelines(kind)
    number = next(k for k, one in enumerate(lines) if text in one)
    return f"tests/planning/faulty_methods.py:{first + number}"


@pytest.mark.parametrize(
    ("kind", "said", "at", "origin"),
    [
        (faulty.MakesAConstant, "wrong device", "z * weight", "linspace"),
        (faulty.HasAnAttribute, "wrong device", "* self.weight", "self.weight ="),
        (faulty.HasAWideBuffer, "float64", "register_buffer", ""),
        (faulty.ComputesInDouble, "float64", "double()", ""),
        (faulty.ReadsItsLoss, "host read", "float(", ""),
        (faulty.PicksByMask, "host read", "z[z.sum(1)", ""),
        (faulty.ReadsAfterItsStep, "host read", "float(", ""),
        (faulty.StacksANumber, "wrong device", "torch.stack", "torch.stack"),
        (faulty.ShufflesOnTheCpu, "host copy", "randperm", "randperm"),
        (faulty.CopiesAConstant, "host copy", "torch.tensor", ""),
    ],
)
def test_what_a_gpu_refuses_or_waits_for_is_found_and_named(
    kind: Any, said: str, at: str, origin: str, simclr: Case, tmp_path: Path
) -> None:
    (fault,) = found(simclr, kind, tmp_path, faults.on_a_gpu)
    assert fault.kind == said
    assert str(fault).startswith(f"{said} at {line(kind, at)}: ")
    assert not origin or line(kind, origin) in fault.what


@pytest.mark.parametrize(
    ("kind", "said", "at", "what"),
    [
        pytest.param(
            faulty.GathersTwice,
            "growth",
            "gather(every)",
            "all_gather gets",
            marks=pytest.mark.slow,
        ),
        (faulty.ComparesAllWithAll, "growth", "every @ every.T", "mm makes"),
        pytest.param(
            faulty.RankZeroAlone,
            "deadlock",
            "all_reduce_sum",
            "all_reduce of () float32 tensor",
            marks=pytest.mark.slow,
        ),
        (faulty.RankOneAlone, "deadlock", "all_reduce_sum", "tensor on rank 1"),
        (faulty.ReadsOnTheWayBack, "host read", "isnan()", "waits for the value of a ()"),
    ],
)
def test_what_stops_or_slows_many_devices_is_found_and_named(
    kind: Any, said: str, at: str, what: str, simclr: Case, tmp_path: Path
) -> None:
    every = found(simclr, kind, tmp_path, faults.on_many)
    assert {fault.kind for fault in every} == {said}
    assert any(fault.where == line(kind, at) and what in fault.what for fault in every), every


@pytest.mark.slow
def test_a_recipe_with_its_own_networks_and_callbacks_has_none() -> None:
    assert faults.faults(recipes.resolve(["vae/digits"])) == []


class Own(L.LightningDataModule):
    """A data module that is none of genlab's."""

    batch_size = 4

    def train_dataloader(self) -> list[Any]:
        return [{"image": torch.zeros(4, 1, 8, 8), "label": torch.zeros(4).long(), "seed": 3}]


def test_a_batch_of_anybodys_data_has_the_size_that_is_asked_for() -> None:
    batch = resized(own_batch(Own()), 6)
    assert batch["image"].shape == (6, 1, 8, 8)
    assert batch["label"].dtype == torch.int64
    assert batch["seed"] == 3
    pair: tuple[Tensor, list[Tensor]] = resized((torch.zeros(2, 3), [torch.zeros(2)]), 5)
    assert (len(pair[0]), len(pair[1][0])) == (5, 5)


class Whole(L.LightningDataModule):
    """Makes a real batch of as many images as it says; a list of them stays."""

    def __init__(self, least: int = 1) -> None:
        super().__init__()
        self.batch_size, self.least = 1024, least
        self.made: list[int] = []

    def train_dataloader(self) -> list[Any]:
        self.made.append(self.batch_size)
        if self.batch_size < self.least:
            raise ValueError("too few")
        return [{"image": torch.zeros(self.batch_size, 1, 8, 8)}]


@pytest.mark.parametrize(("least", "made"), [(1, [FEW]), (64, [FEW, 1024])])
def test_of_anybodys_data_few_real_images_are_made(least: int, made: list[int]) -> None:
    data = Whole(least)
    assert Given(data, 4096).make()["image"].shape == (4096, 1, 8, 8)
    assert (data.made, data.batch_size) == (made, 1024)


def test_data_without_a_batch_are_refused() -> None:
    with pytest.raises(RecipeError, match="first batch of LightningDataModule cannot be made"):
        own_batch(L.LightningDataModule())
