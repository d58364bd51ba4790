"""Fingerprints: the same run has the same one, another run another."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import genlab
from genlab import recipes, runs
from genlab.recipes import contents, fingerprints, modules, outlines, plain_settings
from tests.conftest import Here

RECIPE = """\
data: {class_path: Digits, init_args: {batch_size: 64, root: here}}
model: {class_path: VAE, init_args: {latent_dim: 4}}
trainer: {max_epochs: 3}
seed_everything: 0
"""


def of(file: Path, *words: str) -> str:
    return fingerprints.fingerprint(recipes.resolve([file], words))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(RECIPE)
    return tmp_path / "mine.yaml"


def test_comments_heads_places_and_seeds_are_not_in_it(file: Path) -> None:
    same = of(file)
    assert len(same) == 64
    for text in (
        f"# A comment.\n{RECIPE}",
        f"title: a head\nmeasured: not run\n---\n{RECIPE}",
        RECIPE.replace("root: here", "root: /elsewhere"),
        RECIPE.replace("seed_everything: 0", "seed_everything: 7"),
        f"{RECIPE}track: {{runs: /else/where, wandb: true}}\n",
        RECIPE.replace("VAE", "genlab.methods.vae.VAE"),
        "".join(reversed(RECIPE.splitlines(keepends=True))),
    ):
        file.write_text(text)
        assert of(file) == same
    assert of(file, "track.runs=a") == same
    assert of(file, "trainer.default_root_dir=a") == same


def test_settings_and_versions_are_in_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [of(file), of(file, "model.latent_dim=5"), of(file, "trainer.max_epochs=4")]
    found += [of(file, "data=MNIST"), of(file, "data.labels_seed=3"), of(file, "model.lr=1e-3")]
    for name in ("torch", "timm"):
        other = fingerprints.versions() | {name: "0.1"}
        monkeypatch.setattr(fingerprints, "versions", lambda other=other: other)
        found.append(of(file))
    assert len(set(found)) == len(found)


def test_ways_of_writing_and_what_is_shown_are_not_in_it(file: Path) -> None:
    same = of(file)
    for word in (
        "model.kl_weight=1", "model.kl_weight=1.0", "model.encoder=mlp", "model.optimizer=null",
        "trainer.enable_progress_bar=true", "trainer.log_every_n_steps=3", "trainer.max_steps=null",
        "trainer.callbacks+=Pictures", "trainer.profiler=simple",
    ):  # fmt: skip
        assert of(file, word) == same, word
    assert of(file, "model.kl_weight=2") == of(file, "model.kl_weight=2.0") != same
    assert of(file, "data.val_size=1") != of(file, "data.val_size=1.0")  # an image, all images
    assert of(file, "model.num_classes=10") != same  # which the data would fill in
    assert of(file, "trainer.callbacks+=EMAWeights") != same


def test_images_in_folders_count_by_classes_and_numbers(file: Path) -> None:
    def of_images(place: str, *images: str) -> str:
        for image in images:
            (file.parent / place / image).parent.mkdir(parents=True, exist_ok=True)
            (file.parent / place / image).touch()
        return of(file, "data=ImageFolder", f"data.root={file.parent / place}")

    first = of_images("a", "cats/1.png", "dogs/2.png")
    assert first == of_images("b", "dogs/2.png", "cats/7.png")
    others = {
        of_images("c", "cats/1.png", "dogs/2.png", "dogs/3.png"),
        of_images("d", "cats/1.png"),
    }
    assert len(others | {first, of(file, "data=ImageFolder", "data.root=gone")}) == 4
    assert of(file, f"data.root={file.parent / 'a'}") == of(file)  # of digits, which are no files


def test_a_recipe_that_a_method_starts_from_is_in_it(
    edited: Callable[[str, str, str, str], bool], file: Path
) -> None:
    file.write_text("config: linear/digits\nmodel: {pretrained: simclr/digits}\n")
    temperature = "methods/simclr.py", "temperature: float = 0", "temperature: float = 1"
    assert not edited(str(file), *temperature)
    assert edited("linear/digits", *temperature)
    assert of(file) != of(file, "model.pretrained=moco/digits")


def test_a_folder_of_weights_counts_by_its_files(file: Path) -> None:
    def of_weights(name: str, content: bytes) -> str:
        (file.parent / name).mkdir()
        (file.parent / name / "model.safetensors").write_bytes(content)
        return of(file, f"model.pretrained={file.parent / name}")

    assert of_weights("a", b"1") == of_weights("b", b"1") != of_weights("c", b"2")


def test_a_large_file_counts_by_pieces_all_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "MOST_BYTES", 1000)
    monkeypatch.setattr(contents, "PIECE", 16)
    found = set()
    for place in (None, 0, 2**15, 2**16 - 1):
        content = bytearray(2**16)
        if place is not None:
            content[place] = 1
        (tmp_path / "a.pt").write_bytes(content)
        found.add(contents.Contents().of_text(str(tmp_path / "a.pt")))
    assert len(found) >= 3


def test_a_file_counts_by_its_content(file: Path) -> None:
    def of_weights(name: str, content: bytes) -> str:
        (file.parent / name).write_bytes(content)
        return of(file, f"model.pretrained={file.parent / name}")

    assert of_weights("a.pt", b"1") == of_weights("b.pt", b"1") != of_weights("a.pt", b"2")


def test_a_class_on_the_path_is_followed_and_an_installed_one_counts_by_version(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "elsewhere" / "strange_lab.py"
    place.parent.mkdir()
    file.write_text(RECIPE.replace("VAE", "strange_lab.Mine"))
    found = [of(file)]
    for text in ("class Mine:\n    a = 1\n", "class Mine:\n    a = 2\n"):
        place.write_text(text)
        monkeypatch.syspath_prepend(place.parent)
        found.append(of(file))
    assert len(set(found)) == 3
    file.write_text(RECIPE.replace("VAE", "torchvision.models.ResNet"))
    assert "torchvision is" in fingerprints.code(recipes.resolve([file])).digests


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of genlab's code that a test may change."""
    folder = tmp_path_factory.mktemp("code") / "copy"
    shutil.copytree(modules.ROOT, folder, ignore=shutil.ignore_patterns("__pycache__", "_share"))
    return folder


@pytest.fixture
def edited(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str, str], bool]:
    """A function that tells whether a recipe's fingerprint stays as it is with an edit."""
    monkeypatch.setattr(modules, "ROOT", copy)
    monkeypatch.setattr(fingerprints, "ROOT", copy)

    def stays(name: str, path: str, old: str, new: str) -> bool:
        recipe, text = recipes.resolve([name]), (copy / path).read_text()
        before = fingerprints.fingerprint(recipe)
        assert old in text
        (copy / path).write_text(text.replace(old, new, 1))
        try:
            return fingerprints.fingerprint(recipe) == before
        finally:
            (copy / path).write_text(text)

    return stays


EDITS = (
    ("vae/digits", "losses/likelihood.py", "def bits_per_dim", "0\n\n\ndef bits_per_dim", True),
    ("vae/digits", "losses/contrastive.py", "BLOCK = ", "BLOCK = 1 + ", True),
    ("simclr/digits", "losses/contrastive.py", "BLOCK = ", "BLOCK = 1 + ", False),
    ("vae/digits", "networks/encoders/airbench.py", "scale: float = 1", "scale: float = 2", True),
    ("classifier/cifar10", "networks/encoders/airbench.py", "scale: float = 1",
     "scale: float = 2", False),
    ("fixmatch/mnist", "callbacks/ema_weights.py", "decay: float = 0.9", "decay: float = 0.8",
     False),
    ("simclr/digits", "callbacks/ema_weights.py", "decay: float = 0.9", "decay: float = 0.8", True),
    ("vq_prior/mnist", "methods/vqvae.py", "weight: float = 0.", "weight: float = 1.", False),
    ("knn/mnist", "metrics/knn.py", "QUERIES = ", "QUERIES = 1 + ", False),
    ("fixmatch/mnist", "metrics/classification.py", "BINS = ", "BINS = 1 + ", False),
    ("simclr/digits", "distributed.py", "return dist.get_world_size()", "return 1", False),
    ("finetune/cifar10_500", "checkpoints/foreign/matching.py", "def copy(", "x = 1\n\n\ndef copy(",
     True),
    ("finetune/cifar10_500", "checkpoints/foreign/matching.py", "_STATISTICS = ",
     "_STATISTICS = 0, ", False),
    ("classifier/digits", "checkpoints/foreign/matching.py", "_STATISTICS = ", "_STATISTICS = 0, ",
     True),
    ("wgan_gp/mnist", "internals/lightning_loops.py", "def uncount_step(",
     "def uncount_step(*, a=1, ", False),
    ("vae/digits", "callbacks/pictures.py", "class Pictures(", "class Pictures(int, ", True),
    ("vae/digits", "data/naming.py", "SHOWN = ", "SHOWN = 1 + ", False),
    ("vae/digits", "methods/vae.py", "latent_dim: int", "latent_dim: float", True),
    ("vae/digits", "training/engine/reseed.py", "def seed_generators(", "def seed_generators(a=1, ",
     False),
)  # fmt: skip


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: f"{edit[0]} {edit[1]}")
def test_genlabs_code_counts_where_a_recipe_uses_it(
    edited: Callable[[str, str, str, str], bool], edit: tuple[str, str, str, str, bool]
) -> None:
    *where, same = edit
    assert edited(*where) == same


def test_every_recipe_has_code_of_its_classes() -> None:
    for name in (
        "vq_prior/mnist",
        "moco/digits",
        "linear/mnist",
        "fixmatch/cifar10_250",
        "knn/mnist",
    ):
        recipe = recipes.resolve([name])
        closure = fingerprints.code(recipe)
        for group in ("model", "data"):
            home, _, last = recipe.config[group]["class_path"].rpartition(".")
            assert last in closure.definitions(home)
        assert "build" in closure.definitions("genlab.optim.building") or name == "knn/mnist"
        assert all(modules.is_own(module) for module in closure.modules)


def test_modules_of_genlab_do_nothing_when_they_are_imported() -> None:
    for file in sorted(modules.ROOT.rglob("*.py")):
        parts = file.relative_to(modules.ROOT).with_suffix("").parts
        name = ".".join(["genlab", *parts])
        if modules.is_own(name):
            found = outlines.outline(name, file, *modules.stamp(file))
            assert not [unit for unit in found.units if unit.acts and not unit.binds], name
            assert not found.imports.get("*"), name


def test_backbones_are_found_by_their_names() -> None:
    from genlab.networks.encoders.naming import FAMILIES

    for example, _, kind in FAMILIES:
        recipe = recipes.resolve(["classifier/digits"], [f"model.encoder={example}"])
        code = fingerprints.code(recipe)
        assert code.definitions(kind.__module__) >= {kind.__name__}
        others = {other.__module__ for _, _, other in FAMILIES} - {kind.__module__}
        assert not others & set(code.modules)


def test_names_of_definitions_that_are_left_out_or_added_exist() -> None:
    named = {*fingerprints.TRAINING, fingerprints.SYNCHRONISED, fingerprints.TOKENIZER}
    named |= {f"{fingerprints.NAMING}.{fingerprints.TABLE}", *fingerprints.WEIGHTS}
    for path in named:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path
    assert set(plain_settings.DRAWING) <= recipes.classes("callbacks").keys()
    for room in (*modules.ROOMS, *modules.SILENT):
        place = modules.ROOT.joinpath(*room.split("."))
        assert place.is_dir() or place.with_suffix(".py").is_file(), room


@pytest.mark.slow
def test_nothing_heavy_is_imported() -> None:
    program = (
        "import sys; from genlab import recipes; from genlab.recipes import fingerprints\n"
        "fingerprints.fingerprint(recipes.resolve(['simclr/digits']))\n"
        "assert not {'torch', 'timm', 'lightning'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_runs_of_one_fingerprint_have_the_same_weights(here: Here) -> None:
    usual = {"data.limit": 64, "data.batch_size": 32, "trainer.max_steps": 3, "track.wandb": "off"}
    usual |= {"data.val_size": 32, "trainer.max_epochs": None, "track.test_after_fit": False}
    shown = {"trainer.log_every_n_steps": 1, "trainer.enable_progress_bar": True, "data.root": "x"}
    shown |= {"model.kl_weight": 1, "track.name": "a"}
    found = []
    for settings, callbacks in ((usual, []), (usual | shown, ["Pictures", "ConfusionMatrix"])):
        given = [{"class_path": name, "init_args": {}} for name in callbacks]
        run = genlab.fit("vae/digits", settings | {"trainer.callbacks": given})
        newest = torch.load(runs.checkpoints(run.path)[0], weights_only=True)
        found.append((newest["genlab"]["fingerprint"], newest["state_dict"]))
    (one, weights), (other, others) = found
    assert one == other
    assert all(torch.equal(weights[name], others[name]) for name in weights)
