"""Data, model and trainer out of a recipe: each once, and wrong input said by its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch

from genlab import recipes
from genlab.data import Digits
from genlab.errors import RecipeError
from genlab.methods.vae import VAE
from genlab.training.building import all_settings, build
from tests.data.test_image_folder import picture

HERE = "tests.training.test_building"


class Counted(Digits):
    """Digits that count how often they are made."""

    made = 0

    def __init__(self, colour: float = 0.5, **options: Any) -> None:
        super().__init__(**options)
        type(self).made += 1


class Broken(Digits):
    """Digits with a bug."""

    def __init__(self, kind: str = "AttributeError") -> None:
        super().__init__()
        if kind == "TypeError":
            len(3)  # type: ignore[arg-type]
        if kind == "ValueError":
            raise ValueError("kind is not for sale")
        self.nothing  # type: ignore[attr-defined]  # noqa: B018


class Wrapped(VAE):
    """A method that takes an object."""

    def __init__(self, inner: torch.nn.Module, **options: Any) -> None:
        super().__init__(**options)
        self.inner = inner


def built(tmp_path: Path, *words: str, name: str = "vae/digits") -> Any:
    recipe = recipes.resolve([name], words)
    recipes.check_keys(recipe)
    return build(recipe, tmp_path)


def refused(tmp_path: Path, *words: str) -> str:
    with pytest.raises(RecipeError) as error:
        built(tmp_path, *words)
    assert len(str(error.value).splitlines()) <= 3
    return str(error.value)


def test_the_data_that_fills_the_numbers_is_trained_with(tmp_path: Path) -> None:
    Counted.made = 0
    lab = built(tmp_path, f"data={HERE}.Counted", "data.batch_size=32")
    assert Counted.made == 1
    assert type(lab.data) is Counted
    assert lab.data.batch_size == 32
    arguments = lab.config["model"]["init_args"]
    assert (arguments["channels"], arguments["image_size"]) == (1, 8)
    assert lab.config["data"]["init_args"]["colour"] == 0.5
    assert "eval_batch_size: 512" in all_settings(lab)


def test_a_table_without_labels_is_not_asked_for_class_folders(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("path,label\na.png,\n")
    recipe = recipes.resolve(
        ["classifier/digits"], ["data=ImageTable", f"data.table={tmp_path / 't.csv'}"]
    )
    with pytest.raises(RecipeError, match=r"needs labels, and .*t\.csv has no labels"):
        build(recipe, tmp_path)


UNLABELLED = (
    ("flow_matching/eight_gaussians", "model.conditional=true"),
    ("diffusion/digits", "model.conditional=true"),
    ("glow/two_moons", "model.conditional=true"),
    ("wgan_gp/two_moons", "model.condition=projection"),
)


@pytest.mark.parametrize(("name", "condition"), UNLABELLED)
def test_only_a_conditional_generator_needs_labels(
    tmp_path: Path, name: str, condition: str
) -> None:
    pixels = name.endswith("digits")
    shape = (40, 8, 8) if pixels else (40, 2)
    np.save(tmp_path / "x.npy", np.zeros(shape, np.uint8 if pixels else np.float32))
    kind, key = ("Arrays", "images") if pixels else ("Vectors", "vectors")
    words = [f"data={kind}", f"data.{key}={tmp_path / 'x.npy'}", "data.batch_size=8"]
    model = built(tmp_path, *words, "trainer.callbacks=[]", name=name).model
    assert model.num_classes == 0
    with pytest.raises(RecipeError, match="needs labels, and the data has no labels"):
        built(tmp_path, *words, "trainer.callbacks=[]", condition, name=name)


def test_arguments_of_a_solver_are_named_by_their_keys(tmp_path: Path) -> None:
    for key, value in (("solver_steps", -3), ("likelihood_steps", 0), ("tolerance", 0)):
        with pytest.raises(RecipeError) as error:
            built(tmp_path, f"model.{key}={value}", name="flow_matching/digits")
        assert str(error.value).splitlines()[1] == f"in the command line, model.{key}"


def test_a_bug_in_the_users_class_is_not_called_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match="nothing"):
        built(tmp_path, f"data={HERE}.Broken")
    with pytest.raises(TypeError, match="has no len"):
        built(tmp_path, f"data={HERE}.Broken", "data.kind=TypeError")
    text = refused(tmp_path, f"data={HERE}.Broken", "data.kind=ValueError")
    assert text.splitlines() == ["kind is not for sale", "in the command line, data.kind"]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["model.latent_dim=abc"], ["model.latent_dim must be int, not 'abc'", "command line"]),
        (["model.hidden_dims=[1, x]"], ["model.hidden_dims must be", "int", "[1, 'x']"]),
        (["data.limit=many"], ["data.limit must be int or float or null, not 'many'"]),
        (["trainer.max_epochs=x"], ["trainer.max_epochs must be int or null, not 'x'"]),
        (["checkpoint.monitor=3"], ["checkpoint.monitor must be str or null, not 3"]),
        (["seed_everything=x"], ["seed_everything", "'x'"]),
        (["trainer.callbacks=[{class_path: Pictures, init_args: {foo: 1}}]"], ["'foo'"]),
        (["trainer.callbacks=[EarlyStopping]"], ["trainer.callbacks", "monitor"]),
        (["trainer.callbacks=[nowhere.Watcher]"], ["trainer.callbacks", "nowhere"]),
        ([f"data={HERE}.Counted", "data.colur=1"], ["Counted", "colur", "colour"]),
        (["data=os.system"], ["os.system", "LightningDataModule", "command line, data"]),
        (["data=subprocess.Popen", "data.args=[touch, PWNED]"], ["subprocess.Popen"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_is_wrong_is_said_by_its_key(
    tmp_path: Path, words: list[str], parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = refused(tmp_path, *words)
    for part in parts:
        assert part in text, text
    assert not list(tmp_path.iterdir())


def test_the_data_cannot_move_the_models_first_weights(tmp_path: Path) -> None:
    class_path = f"{HERE}.Drawing"
    one, two = (built(tmp_path, *words) for words in ([], [f"data={class_path}"]))
    for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert torch.equal(a, b)


class Drawing(Digits):
    """Digits that draw random numbers when they are made."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        torch.rand(3)


def test_objects_are_remembered_as_the_recipe_writes_them(tmp_path: Path) -> None:
    lab = built(
        tmp_path, f"model={HERE}.Wrapped",
        "model.inner={class_path: torch.nn.Linear, init_args: {in_features: 2, out_features: 3}}",
    )  # fmt: skip
    assert isinstance(lab.model.inner, torch.nn.Linear)
    kept = lab.model.hparams["inner"]
    assert kept["class_path"] == "torch.nn.Linear"
    assert kept["init_args"]["out_features"] == 3
    assert lab.model.hparams["_class_path"] == f"{HERE}.Wrapped"
    assert isinstance(lab.data, L.LightningDataModule)
