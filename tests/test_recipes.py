"""Recipes: how they extend, merge and are checked, and that every shipped one runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from genlab import recipes
from genlab.errors import RecipeError
from tests.conftest import Here

SHIPPED = recipes.shipped()


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


BASE = """\
trainer: {max_epochs: 3, callbacks: [Pictures]}
data: Digits
model: {class_path: VAE, init_args: {latent_dim: 4, hidden_dims: [8]}}
"""


def test_child_wins_deeply_and_the_base_keeps_the_rest(tmp_path: Path) -> None:
    write(
        tmp_path,
        base=BASE,
        child="config: base.yaml\ntrainer: {max_steps: 7}\nmodel: {latent_dim: 2}\n",
    )
    config = recipes.resolve([tmp_path / "child.yaml"]).config
    assert config["trainer"]["max_epochs"] == 3
    assert config["trainer"]["max_steps"] == 7
    assert config["model"]["init_args"] == {"latent_dim": 2, "hidden_dims": [8]}


def test_plus_appends_and_plain_replaces(tmp_path: Path) -> None:
    write(
        tmp_path,
        base=BASE,
        more="config: base.yaml\ntrainer: {callbacks+: [{class_path: Reseed}]}\n",
        less="config: base.yaml\ntrainer: {callbacks: []}\n",
    )
    more = recipes.resolve([tmp_path / "more.yaml"]).config["trainer"]["callbacks"]
    assert [c["class_path"].rpartition(".")[2] for c in more] == ["Pictures", "Reseed"]
    assert recipes.resolve([tmp_path / "less.yaml"]).config["trainer"]["callbacks"] == []


def test_another_class_drops_the_old_arguments_and_the_same_class_keeps_them(
    tmp_path: Path,
) -> None:
    write(
        tmp_path,
        base=BASE,
        other="config: base.yaml\nmodel: {class_path: VQVAE, init_args: {num_codes: 9}}\n",
        same="config: base.yaml\nmodel: {class_path: VAE}\n",
    )
    assert recipes.resolve([tmp_path / "other.yaml"]).config["model"] == {
        "class_path": "genlab.methods.vqvae.VQVAE", "init_args": {"num_codes": 9}}  # fmt: skip
    same = recipes.resolve([tmp_path / "same.yaml"]).config["model"]["init_args"]
    assert same == {"latent_dim": 4, "hidden_dims": [8]}
    switched = recipes.resolve([tmp_path / "base.yaml"], ["model=VQVAE", "model.num_codes=3"])
    assert switched.config["model"]["init_args"] == {"num_codes": 3}


def test_words_win_over_files_and_later_files_over_earlier(tmp_path: Path) -> None:
    write(
        tmp_path,
        base=BASE,
        a="config: base.yaml\ntrainer: {max_epochs: 5}\n",
        b="trainer: {max_epochs: 6, max_steps: 2}\n",
    )
    recipe = recipes.resolve([tmp_path / "a.yaml", tmp_path / "b.yaml"], ["trainer.max_steps=9"])
    assert recipe.config["trainer"]["max_epochs"] == 6
    assert recipe.config["trainer"]["max_steps"] == 9
    assert recipe.origin("trainer.max_steps") == "the command line"
    assert recipe.origin("trainer.max_epochs").endswith("b.yaml")


def test_lr_and_weight_decay_reach_the_optimiser(tmp_path: Path) -> None:
    write(tmp_path, base=BASE)
    words = ["model.lr=1e-3", "model.optimizer.name=adamw", "model.weight_decay=0.1"]
    recipe = recipes.resolve([tmp_path / "base.yaml"], words)
    recipes.check_keys(recipe)
    found = recipe.config["model"]["init_args"]
    assert found["optimizer"] == {"name": "adamw", "lr": 1e-3, "weight_decay": 0.1}
    assert "lr" not in found


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1.5E4", 1.5e4), ("off", "off"), ("no", "no"), ("true", True), ("null", None),
     ("1", 1), ("[0, 0.9]", [0, 0.9]), ("a: b", {"a": "b"})],
)  # fmt: skip
def test_yaml_as_people_mean_it(text: str, value: object) -> None:
    assert recipes.parse(text, "x") == value


@pytest.mark.parametrize(
    ("files", "words", "parts"),
    [
        ({"r": "config: gone.yaml\n"}, [], ["gone.yaml", "r.yaml"]),
        ({"r": "config: s.yaml\n", "s": "config: r.yaml\n"}, [], ["circle", "r.yaml", "s.yaml"]),
        ({"r": "trainer: {\n"}, [], ["YAML", "r.yaml", "line"]),
        ({"r": "model: VAE\nmodel: VAE\n"}, [], ["twice", "line 2"]),
        ({"r": "- 1\n"}, [], ["mapping", "r.yaml"]),
        ({"r": BASE + "trainr: {}\n"}, [], ["trainr", "r.yaml", "trainer"]),
        ({"r": BASE}, ["model.latnt_dim=2"], ["latnt_dim", "command line", "latent_dim"]),
        ({"r": BASE}, ["model=VEA"], ["VEA", "command line", "VAE"]),
        ({"r": BASE}, ["data=Digts"], ["Digts", "Digits"]),
        ({"r": BASE}, ["fast"], ["fast", "key=value"]),
        ({"r": "data: Digits\n"}, [], ["no model class"]),
    ],
)
def test_a_wrong_recipe_is_named_with_its_place(
    tmp_path: Path, files: dict[str, str], words: list[str], parts: list[str]
) -> None:
    write(tmp_path, **files)
    with pytest.raises(RecipeError) as error:
        recipes.check_keys(recipes.resolve([tmp_path / "r.yaml"], words))
    text = str(error.value)
    assert len(text.splitlines()) <= 3
    for part in parts:
        assert part in text


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="vae/mnist"):
        recipes.find("vae/mnst")


def test_class_names_come_from_the_files() -> None:
    methods = recipes.classes("methods")
    files = {
        f.stem for f in Path(recipes.__file__).parents[1].joinpath("methods").glob("[a-z]*.py")
    }
    assert {path.split(".")[-2] for path in methods.values()} == files
    assert {
        "Digits",
        "MNIST",
        "FashionMNIST",
        "CIFAR10",
        "CIFAR100",
        "SVHN",
        "STL10",
        "ImageFolder",
    } <= set(recipes.classes("data"))


def test_a_resolved_recipe_resolves_to_itself(tmp_path: Path) -> None:
    recipe = recipes.resolve(["vae/digits"])
    file = tmp_path / "again.yaml"
    file.write_text(recipes.dump(recipe))
    again = recipes.resolve([file])
    assert again.config == recipe.config
    assert again.header == recipe.header


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_heads_are_lab_records(name: str) -> None:
    text = SHIPPED[name].read_text()
    written = recipes.parse(recipes.split(text)[0], name)
    assert {"title", "paper", "aims", "measured", "cost", "run"} <= set(written)
    head = recipes.head(SHIPPED[name])
    assert name in head.run
    assert written["measured"] == "not run" or head.measured
    for result in head.measured:
        assert result.date
        assert result.machine
    assert not text.startswith("#")


def test_the_folder_of_runs(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here.folder / "home"))
    for place, found in (("~/mine", here.folder / "home" / "mine"), ("a", Path("a"))):
        assert recipes.resolve(["vae/digits"], [f"track.runs={place}"]).runs == found
    for command in (["fit"], ["sweep", "seed_everything=0,1"], ["crossval"], ["submit"]):
        for place in ("null", "''", "3"):
            words = [command[0], "classifier/digits", *command[1:], f"track.runs={place}"]
            _, said = here(*words, code=2)
            assert "track.runs" in said
    assert not os.listdir(here.folder)
