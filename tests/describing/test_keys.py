"""Every key of every recipe has a meaning; misspelt ones are told with the nearest."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from genlab import recipes
from genlab.augment.rand_augment import POLICIES
from genlab.augment.views import PRESETS
from genlab.describing import classes, keys, nested, source, values
from genlab.errors import RecipeError
from genlab.optim.checking import DEFAULTS
from genlab.optim.names import TORCH


def every_key(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """All keys of a resolved recipe, those of its callbacks by their classes."""
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from every_key(value, f"{prefix}{key}.")
        if key == "callbacks":
            for one in value:
                name = recipes.short(one["class_path"])
                yield f"{prefix}callbacks.{name}"
                yield from (f"{prefix}callbacks.{name}.{k}" for k in one.get("init_args", {}))


def test_every_key_of_every_recipe_has_a_meaning_and_a_value() -> None:
    asked = set[tuple[str, ...]]()
    for name in recipes.shipped():
        recipe = recipes.resolve([name])
        named = values.named(recipe)
        for key in every_key(recipe.config):
            group = key.partition(".")[0]
            of = named.get(group, ""), named["encoder"] if "encoder_kwargs" in key else ""
            if (key, *of) in asked:
                continue
            asked.add((key, *of))
            found = keys.meanings(key, named)
            assert all(one.text for one in found), (name, key)
            value = values.value_of(recipe, found[0].key)
            assert value.known or found[0].key.endswith("init_args"), (name, key)
    assert len(asked) > 300
    for key in {key for key, *_ in asked}:
        assert all(one.text for one in keys.meanings(key)), key


@pytest.mark.parametrize("group", keys.TOP)
def test_every_key_of_a_group_has_a_meaning(group: str) -> None:
    for name in keys.names(group):
        assert all(one.text for one in keys.meanings(f"{group}.{name}")), name


def test_every_documented_key_of_settings_is_found() -> None:
    for argument, group in nested.HOLDERS.items():
        for one in nested.settings(argument):
            assert keys.meanings(f"{group}.{argument}.{one.name}"), one.name


def test_settings_are_those_that_the_code_takes() -> None:
    optimizer = nested.settings("optimizer")
    assert {*DEFAULTS} <= {one.name for one in optimizer}
    of_build = {one.name: one for one in optimizer if one.owner.name == "build"}
    assert {k: eval(of_build[k].default or "''") for k in DEFAULTS} == DEFAULTS
    texts = {one.name: one.text for one in nested.settings("views")}
    assert all(f"``{name}``" in texts["preset"] for name in PRESETS)
    texts = {one.name: one.text for one in nested.settings("strong")}
    assert all(f"``{name}``" in texts["policy"] for name in POLICIES)


def test_every_argument_of_torchs_optimizers_has_its_text() -> None:
    by_name = {path.rpartition(".")[2].lower(): path for path in nested.optimizers()}
    assert {*by_name} == {*TORCH}
    for name, cls in TORCH.items():
        found = classes.describe(source.locate(by_name[name]))
        assert {one.name for one in found.arguments} == {*inspect.signature(cls).parameters}
        assert all(one.text for one in found.arguments), name
    assert keys.spelled("nesterov") == ["model.optimizer.nesterov"]


@pytest.mark.parametrize(
    ("key", "owner", "says"),
    [
        ("model.lr", "optim.build", "peak learning rate"),
        ("model.optimizer.lr_batch", "optim.build", "scales linearly"),
        ("model.optimizer.nesterov", "SGD", "enables Nesterov momentum"),
        ("model.optimizer.amsgrad", "AdamW", "AMSGrad"),
        ("model.optimizer.history_size", "LBFGS", "update history"),
        ("model.encoder_kwargs.stem", "networks.encoder", "3x3 stride-1"),
        ("model.encoder_kwargs.normalize.mean", "networks.encoder", "of the channels"),
        ("model.init_args.pretrained_options.take", "checkpoints.load_backbone", "two"),
        ("model.optimizer.lr_scale.anything", "optim.build", "each named part"),
        ("data.views.blur", "View", "Gaussian blur"),
        ("data.labels.per_class", "Budget", "number for each class"),
        ("trainer.max_steps", "Trainer", "number of steps"),
        ("trainer.callbacks+.EMAWeights.decay", "EMAWeights", "fraction"),
        ("checkpoint.monitor", "Checkpoints", "selects"),
        ("track.wandb", "Tracking", "online"),
    ],
)
def test_meanings(key: str, owner: str, says: str) -> None:
    found = keys.meanings(key)
    assert any(owner in one.owners and says in one.text for one in found)


def test_classes_that_document_a_key_alike_are_one_group() -> None:
    found = {owner: one for one in keys.meanings("model.temperature") for owner in one.owners}
    assert found["SimCLR"].text == found["MoCo"].text  # of another default
    assert found["SimCLR"] is not found["MoCo"]
    (simclr,) = keys.meanings("model.temperature", {"model": "SimCLR"})
    assert simclr.owners == ("SimCLR",)
    images = keys.meanings("data.batch_size")[0].owners
    assert {"MNIST", "ImageFolder"} <= set(images)


def test_the_encoder_of_a_recipe_narrows_its_arguments() -> None:
    named = values.named(recipes.resolve(["fixmatch/cifar10_250"]))
    (width,) = keys.meanings("model.encoder_kwargs.width", named)
    assert width.owners == ("WideResNet",)


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("modle.lr", "model"),
        ("model.temperatur", "temperature"),
        ("model.optimizer.lrbatch", "lr_batch"),
        ("data.views.blurr", "blur"),
        ("trainer.callbacks.EMAWeigth", "EMAWeights"),
        ("trainer.callbacks.EMAWeights.decai", "decay"),
        ("track.wand", "wandb"),
        ("seed_everything.x", "seed_everything"),
    ],
)
def test_unknown_keys(key: str, near: str) -> None:
    with pytest.raises(RecipeError) as refused:
        keys.meanings(key)
    assert near in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 3


def test_names_without_their_group() -> None:
    assert keys.spelled("lr_batch") == ["model.optimizer.lr_batch"]
    assert keys.spelled("temperature") == ["model.temperature"]
    assert keys.spelled("nothing") == []


def test_constants_are_read_from_source() -> None:
    assert source.constant("genlab.optim.checking", "DEFAULTS")["lr"] == "0.001"
    assert source.constant("genlab.optim.checking", "NOTHING") == {}
