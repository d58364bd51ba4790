"""Classes described from their source, against the classes themselves."""

from __future__ import annotations

import importlib
import inspect

import pytest

from genlab.describing import classes, source
from genlab.recipes import class_names
from genlab.training.parsing import parameters

NAMED = [path for package in class_names.ROOTS for path in class_names.classes(package).values()]


@pytest.mark.parametrize("path", [path for path in NAMED if path.startswith("genlab.")])
def test_every_argument_of_a_class_that_recipes_name_is_found_and_documented(path: str) -> None:
    definition = source.locate(path)
    assert definition is not None
    found = classes.describe(definition)
    module, _, name = path.rpartition(".")
    wanted = parameters(getattr(importlib.import_module(module), name))
    stars = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    known = {k: p for k, p in wanted.items() if k != "self" and p.kind not in stars}
    given = {one.name: one for one in found.arguments if not one.name.startswith("*")}
    assert given.keys() == known.keys()
    assert all(one.text for one in given.values())
    needed = {k for k, p in known.items() if p.default is inspect.Parameter.empty}
    assert {one.name for one in given.values() if one.default is None} == needed
    assert found.first


def test_arguments_come_from_the_base_that_has_them() -> None:
    found = classes.describe(source.find("ImageFolder")[0])
    owners = {one.name: one.owner.name for one in found.arguments}
    assert owners["window"] == "ImageFolder"
    assert owners["crop_ratio"] == "EncodedImages"
    assert owners["batch_size"] == "Images"


def test_a_record_has_its_fields() -> None:
    found = classes.describe(source.find("Tracking")[0])
    wandb = found.argument("wandb")
    assert wandb is not None
    assert wandb.default == "'auto'"
    assert "online with a key" in wandb.text


@pytest.mark.parametrize(
    ("name", "paper"),
    [
        ("SimCLR", "Chen, Kornblith, Norouzi, Hinton 2020, arXiv:2002.05709"),
        ("Autoencoder", "Hinton & Salakhutdinov 2006, Science 313(5786)"),
        ("LARS", "You, Gitman, Ginsburg 2017, arXiv:1708.03888"),
        ("VAE", "Kingma et al. 2016, arXiv:1606.04934"),
    ],
)
def test_papers(name: str, paper: str) -> None:
    found = classes.describe(source.find(name)[0]).papers
    assert any(one.startswith(paper) for one in found), found


def test_every_method_names_a_paper() -> None:
    for path in class_names.classes("methods").values():
        definition = source.locate(path)
        assert definition is not None
        assert classes.papers(definition), path
