"""Which run a recipe's name means, and what is told of the networks behind a metric."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

import genlab
from genlab import checkpoints, process, recipes, runs
from genlab.errors import RunError
from tests.conftest import Here, Shell

OFF = "track.wandb=off"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of classifier/digits and one of wgan_gp/digits."""
    shell = Shell(tmp_path_factory.mktemp("home"))
    shell("fit", "classifier/digits", "trainer.max_epochs=2", OFF)
    shell("fit", "wgan_gp/digits", "trainer.max_steps=2", OFF)
    return shell.folder


@pytest.fixture
def classifier(home: Path, here: Here, capsys: pytest.CaptureFixture[str]) -> Path:
    """The run of the classifier, copied with the other into the current folder."""
    process._SAID.clear()
    shutil.copytree(home / "runs", here.folder / "runs")
    return next((here.folder / "runs" / "classifier" / "digits").iterdir())


def younger(run: Path, name: str, *changed: str, finished: bool = True) -> Path:
    """A copy of a run made later, whose recipe has other ``key=value`` settings."""
    copy = shutil.copytree(run, run.parent / name)
    recipe = recipes.of_run(copy, changed)
    (copy / "recipe.yaml").write_text(recipes.dump(recipe))
    later = (run / "recipe.yaml").stat().st_mtime + 60
    os.utime(copy / "recipe.yaml", (later, later))
    if not finished:
        (copy / "metrics.json").unlink()
    return copy


@pytest.mark.parametrize(
    ("finished", "changed", "reason"),
    [
        (False, [], "is not finished"),
        (True, ["data=MNIST"], "was trained on MNIST"),
        (True, ["data.limit=20"], "was trained with data.limit=20"),
        (True, ["trainer.limit_train_batches=3"], "with trainer.limit_train_batches=3"),
    ],
)
def test_a_recipes_name_means_its_newest_finished_run_of_its_own_data(
    classifier: Path,
    capsys: pytest.CaptureFixture[str],
    finished: bool,
    changed: list[str],
    reason: str,
) -> None:
    other = younger(classifier, "other", *changed, finished=finished)
    assert runs.find("classifier/digits").name == "other"  # the newest, to continue
    assert checkpoints.chosen("classifier/digits").parents[1].name == classifier.name
    assert f"classifier/digits: runs/classifier/digits/{classifier.name}" in capsys.readouterr().err
    for word in (other, other.name):
        assert checkpoints.chosen(word).parents[1].name == "other"
    shutil.rmtree(classifier)
    with pytest.raises(RunError) as refusal:
        checkpoints.chosen("classifier/digits")
    assert reason in str(refusal.value)
    assert "runs/classifier/digits/other" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 2


def test_other_settings_of_the_data_are_the_recipes_own_images(classifier: Path) -> None:
    younger(classifier, "other", "data.batch_size=16", "data.root=/else", "data.val_size=50")
    assert checkpoints.chosen("classifier/digits").parents[1].name == "other"


def test_any_folder_is_the_recipes_own_while_all_runs_agree(here: Here) -> None:
    for name, place in (("a", "/mine"), ("b", "/mine"), ("c", "/other")):
        run = here.folder / "runs" / "simclr" / "imagenet100" / name
        (run / "checkpoints").mkdir(parents=True)
        torch.save({}, run / "checkpoints" / "last.ckpt")
        (run / "metrics.json").write_text("{}")
        recipe = recipes.resolve(["simclr/imagenet100"], [f"data.root={place}"])
        (run / "recipe.yaml").write_text(recipes.dump(recipe))
        if name == "b":
            assert checkpoints.chosen("simclr/imagenet100").parents[1].name == "b"
    with pytest.raises(RunError, match="was trained on ImageFolder root=/other"):
        checkpoints.chosen("simclr/imagenet100")


def test_folders_are_compared_by_their_place(tmp_path: Path) -> None:
    one = {"class_path": "ImageFolder", "init_args": {"root": str(tmp_path), "batch_size": 3}}
    other = {"class_path": "ImageFolder", "init_args": {"root": f"{tmp_path}/x/..", "resize": 9}}
    assert recipes.same_images(one, other)
    other["init_args"]["root"] = str(tmp_path / "x")  # type: ignore[index]
    assert not recipes.same_images(one, other)
    assert recipes.described(other) == f"ImageFolder root={tmp_path / 'x'}"
    kinds = [
        {"class_path": "Toys", "init_args": {"kind": k}} for k in ("two_moons", "checkerboard")
    ]
    assert not recipes.same_images(*kinds)


@pytest.mark.parametrize(
    ("roots", "same"),
    [(("/a", "/b"), False), ((None, "/b"), False), (("/a", "/a/"), True), ((None, "/t"), True)],
)
def test_tables_are_compared_with_the_folder_of_their_images(
    roots: tuple[str | None, str], same: bool
) -> None:
    """A table's paths start from its own folder unless it is given another."""
    one, other = (
        {"class_path": "ImageTable", "init_args": {"table": "/t/x.csv", "root": root}}
        for root in roots
    )
    assert recipes.same_images(one, other) == same


def test_the_judge_of_a_metric_is_identified(classifier: Path, here: Here) -> None:
    out, err = here("evaluate", "wgan_gp/digits", "--judge", "classifier/digits",
                    "--samples", "100", "--json")  # fmt: skip
    found = json.loads(out)
    weights = classifier / "checkpoints" / "best.ckpt"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:12]
    accuracy = json.loads((classifier / "metrics.json").read_text())["test/accuracy"]
    assert found["judge/network_run"] == f"classifier/digits/{classifier.name}"
    assert found["judge/network_file"] == "best.ckpt"
    assert found["judge/network_data"] == "Digits"
    assert found["judge/network_test_accuracy"] == accuracy
    assert found["judge/network_sha256"] == digest
    line = next(line for line in err.splitlines() if line.startswith("judge: "))
    assert f"{accuracy:.1%} of the test images" in line
    assert line.endswith(f"sha256 {digest}")


def test_a_judge_of_other_data_is_refused_unless_asked_for(classifier: Path, here: Here) -> None:
    other = younger(classifier, "other")
    for file in (other / "checkpoints").iterdir():
        content = checkpoints.read(file)
        content["genlab"]["recipe"]["data"] = {"class_path": "MNIST", "init_args": {"resize": 8}}
        checkpoints.AtomicCheckpointIO().save_checkpoint(content, file)
    words = ("evaluate", "wgan_gp/digits", "--judge", str(other), "--samples", "100")
    _, err = here(*words, code=2)
    assert "was trained on MNIST, the samples are of Digits" in err
    assert "--judge-of-other-data" in err
    out, _ = here(*words, "--judge-of-other-data", "--json")
    assert json.loads(out)["judge/network_data"]


def test_parents_are_in_the_run_the_checkpoint_and_the_evaluation(
    classifier: Path, here: Here
) -> None:
    settings = {"model.pretrained": "classifier/digits", "trainer.max_steps": 2,
                "track.wandb": "off"}  # fmt: skip
    run = genlab.fit("linear/digits", settings)
    err = here.capture.readouterr().err
    facts = json.loads((run.path / "run.json").read_text())["parents"]["pretrained"]
    weights = classifier / "checkpoints" / "best.ckpt"
    assert facts["run"] == f"classifier/digits/{classifier.name}"
    assert facts["data"] == "Digits"
    assert facts["metrics"]["test/accuracy"] > 0.5
    assert facts["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert facts["path"] == str(classifier)
    known = runs.read_json(classifier / "run.json")
    assert (facts["fingerprint"], facts["seed"]) == (known["fingerprint"], known["seed"])
    assert facts["step"] == checkpoints.read(weights)["global_step"]
    assert f"pretrained: classifier/digits/{classifier.name}, best.ckpt, trained on Digits" in err
    assert checkpoints.read(run.path)["genlab"]["parents"]["pretrained"] == facts
    shutil.rmtree(classifier)  # it travels with the run
    out, err = here("test", str(run.path), "--json")
    assert json.loads(out)["parents"]["pretrained"] == facts
    assert facts["sha256"][:12] in err
    genlab.fit(resume=run.path, settings={"trainer.max_steps": 4})
    assert json.loads((run.path / "run.json").read_text())["parents"]["pretrained"] == facts


def test_every_argument_that_names_a_network_has_a_parent(classifier: Path, here: Here) -> None:
    weights = here.folder / "weights.pth"
    weights.write_bytes(b"weights")
    arguments = {"tokenizer": str(classifier), "pretrained": str(weights), "encoder": "resnet18"}
    found = checkpoints.parents(arguments | {"space": str(classifier)})
    assert found["tokenizer"]["run"] == f"classifier/digits/{classifier.name}"
    assert found["space"] == found["tokenizer"]
    digest = hashlib.sha256(b"weights").hexdigest()
    assert found["pretrained"] == {"file": str(weights), "sha256": digest}
    assert checkpoints.parents({"pretrained": True, "encoder": "vit"}) == {
        "pretrained": {"file": "timm's vit"}
    }
    assert checkpoints.parents({"pretrained": False, "tokenizer": None}) == {}


def test_weights_outside_a_run_are_their_file(classifier: Path, tmp_path: Path) -> None:
    lone = shutil.copy(classifier / "checkpoints" / "best.ckpt", tmp_path / "lone.ckpt")
    stamp = checkpoints.read(lone)["genlab"]
    facts = checkpoints.identify(Path(lone), stamp)
    assert facts.keys() == {"file", "data", "sha256"}
    assert checkpoints.in_words(facts).startswith(f"{lone}, trained on Digits, sha256 ")


@pytest.mark.parametrize("recipe", ["linear/digits", "finetune/digits", "knn/digits"])
@pytest.mark.parametrize("wrong", ["model.optimizer.name=x", "data.val_size=100000"])
def test_a_refusal_stands_alone_and_the_report_comes_with_what_is_right(
    classifier: Path, here: Here, recipe: str, wrong: str
) -> None:
    words = ("fit", recipe, "model.pretrained=classifier/digits", OFF)
    _, err = here(*words, wrong, code=2)
    assert len(err.splitlines()) <= 3
    assert "in the command line" in err
    assert "pretrained weights" not in err
    _, err = here(*words, "--print_config")
    assert f"classifier/digits: {classifier.relative_to(here.folder)}" in err
    assert "pretrained weights from" in err
