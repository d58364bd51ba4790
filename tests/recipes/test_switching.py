"""Another class on the command line: what stays, what goes, and that it is said."""

from __future__ import annotations

import pytest

from genlab import recipes
from genlab.recipes.switching import carry_over
from tests.conftest import Here


def test_what_is_meant_for_any_data_survives_where_the_new_class_takes_it() -> None:
    plain = recipes.resolve(["simclr/digits"]).config["data"]["init_args"]
    recipe = recipes.resolve(["simclr/digits"], ["data=ImageFolder", "data.image_size=32"])
    recipes.check_keys(recipe)
    data = recipe.config["data"]
    assert data["class_path"].endswith("ImageFolder")
    assert data["init_args"]["batch_size"] == plain["batch_size"]
    assert data["init_args"]["views"] == plain["views"]
    assert data["init_args"]["image_size"] == 32
    toys = recipes.resolve(["simclr/digits"], ["data=Toys", "data.batch_size=7"])
    recipes.check_keys(toys)
    assert toys.config["data"]["init_args"]["batch_size"] == 7


@pytest.mark.parametrize("named", ["data=ImageFolder", "data.class_path=ImageFolder"])
def test_settings_before_the_class_are_meant_for_it(named: str) -> None:
    recipe = recipes.resolve(["classifier/digits"], ["data.batch_size=8", "data.root=x", named])
    recipes.check_keys(recipe)
    kept = recipe.config["data"]["init_args"]
    assert (kept["batch_size"], kept["root"]) == (8, "x")
    assert not any("8" in note for note in recipe.notes)


@pytest.mark.parametrize("name", ["ImageNet", "WebDataset", "HuggingFace", "ImageTable"])
def test_images_in_other_files_keep_their_crops(name: str) -> None:
    plain = recipes.resolve(["classifier/imagenet_resnet50"]).config["data"]["init_args"]
    words = [f"data={name}", f"data.{'table' if name == 'ImageTable' else 'root'}=x"]
    recipe = recipes.resolve(["classifier/imagenet_resnet50"], words)
    recipes.check_keys(recipe)
    kept = recipe.config["data"]["init_args"]
    assert {key: kept[key] for key in plain if key != "root"} == {
        key: value for key, value in plain.items() if key != "root"
    }
    assert all("no longer" not in note or "root data/imagenet" in note for note in recipe.notes)


def test_what_no_longer_applies_is_said_once() -> None:
    words = ["data=FashionMNIST", "data.val_size=100"]
    recipe = recipes.resolve(["vae/mnist"], words)
    former = recipes.resolve(["vae/mnist"]).config["data"]["init_args"]
    lost = [key for key in former if key not in recipe.config["data"]["init_args"]]
    assert len(recipe.notes) == bool(lost)
    assert all(f"{key} {former[key]}" in recipe.notes[0] for key in lost)
    model = recipes.resolve(["vae/digits"], ["model=VQVAE"])
    assert len(model.notes) == 1
    assert model.notes[0].startswith("model=VQVAE: ")
    assert "of vae/digits no longer appl" in model.notes[0]
    assert recipes.resolve(["vae/digits"], ["data=Digits", "model.latent_dim=3"]).notes == []


def test_what_no_longer_applies_is_said_without_credentials() -> None:
    address = "https://me:SECRET@host/w.pth?token=SECRET"
    recipe = recipes.resolve(["classifier/digits"], [f"model.pretrained={address}"])
    carry_over(recipe, {"model": {"class_path": "x.Former", "init_args": {"weights": address}}})
    assert "weights https://host/w.pth of classifier/digits" in recipe.notes[-1]


def test_the_command_says_it(here: Here) -> None:
    _, err = here("fit", "vae/digits", "model=Autoencoder", "--print_config")
    assert err.startswith("model=Autoencoder: ")
    assert "no longer appl" in err


@pytest.mark.parametrize("word", ["data.views.flip=false", "data.views={flip: false}"])
def test_settings_over_a_preset_named_by_a_string_keep_it(word: str) -> None:
    """The name of swav/imagenet_resnet50 is multicrop; without a name the preset is simclr."""
    recipe = recipes.resolve(["swav/imagenet_resnet50"], [word, "data.views.small.count=3"])
    views = recipe.config["data"]["init_args"]["views"]
    assert views == {"preset": "multicrop", "flip": False, "small": {"count": 3}}
    assert recipe.origin("data.init_args.views.preset").endswith("imagenet_resnet50.yaml")
    other = recipes.resolve(["swav/imagenet_resnet50"], [word, "data.views.preset=dino"])
    assert other.config["data"]["init_args"]["views"] == {"preset": "dino", "flip": False}
    again = recipes.resolve(["swav/imagenet_resnet50"], [word, "data.views=byol"])
    assert again.config["data"]["init_args"]["views"] == "byol"


def test_settings_of_views_for_another_class_keep_the_preset() -> None:
    words = ["data=ImageFolder", "data.root=x", "data.views.flip=false"]
    for name, preset in (("swav/imagenet_resnet50", "multicrop"), ("simclr/digits", "simclr")):
        views = recipes.resolve([name], words).config["data"]["init_args"]["views"]
        assert (views["preset"], views["flip"]) == (preset, False)
