"""``genlab new``: a project whose method, data and backbone go through every command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genlab.cli import run
from genlab.cli.new import check_name
from genlab.errors import RecipeError, RunError
from tests.conftest import Here

RECIPE = "mine/recipes/turns/digits.yaml"
TINY = [RECIPE, "track.wandb=off", "trainer.accelerator=cpu", "trainer.max_epochs=1"]
SHORT = [*TINY, "trainer.limit_train_batches=2"]

COMMANDS = f"""
import torch, genlab
from pathlib import Path
from genlab.cli import run

run(["fit", *{SHORT!r}])
kept = next(str(path.parent.parent) for path in Path("runs").rglob("last.ckpt"))
run(["evaluate", kept])
run(["embed", kept, "--out", "features.npz"])
run(["export", kept, "--out", "exported"])
run(["export", kept, "--out", "graph", "--format", "torch"])
run(["fit", "--resume", kept, "trainer.max_epochs=2"])
run(["submit", {RECIPE!r}, "--dry-run"])
method, image = genlab.load(kept), torch.rand(2, 1, 8, 8)
assert type(method).__module__ == "mine.methods.turns"

import timm
timm_s = timm.create_model("local-dir:exported", pretrained=True).eval()
assert timm_s(image).shape == method(image).shape == (2, 128)
print("ALL DONE")
"""


@pytest.fixture
def project(here: Here) -> Path:
    """A project as written, named ``mine``."""
    run(["new", "mine"])
    return here.folder / "mine"


def started(project: Path, *words: str) -> subprocess.Popen[str]:
    """A program in the folder of the project, which is not installed."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, *words], cwd=project, env=environment, **pipes)  # type: ignore[call-overload]


def said(project: Path, *words: str) -> str:
    """What a program prints that must succeed."""
    process = started(project, *words)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return out


def test_every_command_takes_the_project_s_method_data_and_backbone(project: Path) -> None:
    assert "ALL DONE" in said(project, "-c", COMMANDS)
    metrics = [json.loads(f.read_text()) for f in project.glob("runs/**/metrics.json")]
    assert any("val/feature_norm" in found and found["step"] == 4 for found in metrics)


def test_a_misspelt_key_is_answered_with_the_nearest(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(RecipeError, match=r"Turns has no argument encodr\n(.*\n)?did you mean"):
        run(["fit", RECIPE, "model.encodr=lenet"])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Mine", "is not a package name"),
        ("my-lab", "is not a package name"),
        ("class", "is not a package name"),
        ("json", "another package"),
        ("torch", "another package"),
        ("genlab", "another package"),
    ],
)
def test_names_that_are_no_new_package_s_are_refused(name: str, reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        check_name(name)


def test_a_folder_that_holds_something_is_left_as_it_is(here: Here) -> None:
    (here.folder / "mine").mkdir()
    run(["new", "mine"])  # an empty folder is taken
    (here.folder / "mine" / "README.md").write_text("changed")
    with pytest.raises(RecipeError, match="is not an empty folder"):
        run(["new", "mine"])
    assert (here.folder / "mine" / "README.md").read_text() == "changed"
    assert [path.name for path in here.folder.glob("*mine*")] == ["mine"]


def test_nothing_is_left_of_a_project_that_cannot_be_written(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(RunError, match="cannot write mine: No space left"):
        run(["new", "mine"])
    assert not list(here.folder.glob("*mine*"))


@pytest.mark.slow
def test_its_own_tests_pass_and_the_pictures_recipe_takes_a_folder(project: Path) -> None:
    assert "4 passed" in said(project, "-m", "pytest", "-q", "-p", "no:cacheprovider")


@pytest.mark.slow
def test_two_processes_train_it(project: Path) -> None:
    said(project, "-m", "genlab", "fit", *SHORT, "trainer.devices=2")
    assert len(list(project.glob("runs/**/last.ckpt"))) == 1


DOTTED = [
    "simclr/digits",
    "model=mine.methods.turns.Turns",
    "model.encoder=mine.networks.tiny_net.TinyNet",
]


@pytest.mark.slow
@pytest.mark.parametrize("plugins", [True, False])
def test_a_run_that_was_killed_goes_on(
    project: Path, plugins: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not plugins:
        monkeypatch.setenv("GENLAB_PLUGINS", "")  # the pyproject's declaration is ignored
    words = [*([RECIPE] if plugins else DOTTED), *TINY[1:-1], "checkpoint.every_n_steps=5"]
    process = started(project, "-m", "genlab", "fit", *words, "trainer.max_epochs=500")
    end = time.monotonic() + 120
    while not (kept := list(project.glob("runs/**/last.ckpt"))) and time.monotonic() < end:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    folder = kept[0].parent.parent
    said(project, "-m", "genlab", "fit", "--resume", str(folder), "trainer.max_epochs=20")
    assert "val/knn_top1" in json.loads((folder / "metrics.json").read_text())
    said(project, "-m", "genlab", "embed", str(folder), "--out", "features.npz")
