"""What lies in a folder is not run and not written through: git, links, modules, first lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import genlab
from genlab import recipes, runs
from genlab.cli import crossval, sync
from genlab.errors import InputError, RunError
from genlab.files import replacing
from genlab.training.provenance import code
from tests.conftest import Here, Shell
from tests.security.conftest import Stranger

BORING = "lightning.pytorch.demos.boring_classes"


@pytest.mark.parametrize(
    ("line", "name"),
    [("vae/digits", "vae/digits"), ("../../x", "mine"), ("/abs", "mine"), ("a/../../b", "mine")],
)
def test_a_recipes_first_line_chooses_no_other_place(tmp_path: Path, line: str, name: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(f"# genlab run of {line}\nmodel: VAE\n")
    if name == "mine":
        with pytest.raises(InputError, match="not the name of a recipe"):
            recipes.name_of(file)
    else:
        assert recipes.name_of(file) == name


def test_git_runs_no_program_of_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, mark = tmp_path / "monitor.sh", tmp_path / "MARK"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    here = tmp_path / "repository"
    here.mkdir()
    monkeypatch.chdir(here)
    for words in (
        ["init", "-q"],
        ["config", "user.email", "a@b"],
        ["config", "user.name", "a"],
        ["commit", "-q", "--allow-empty", "-m", "x"],
        ["config", "core.fsmonitor", str(program)],
    ):
        subprocess.run(["git", *words], check=True, capture_output=True)
    assert code.now().repositories["project"]["changed"] is False
    assert not mark.exists()
    subprocess.run(["git", "status"], check=True, capture_output=True)  # the control
    assert mark.exists()


def test_a_planted_lock_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").symlink_to(target)
    with pytest.raises(RunError, match="is a link"):
        runs.lock(run)
    assert target.read_text() == "mine"


def test_a_planted_draft_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("mine")
    (tmp_path / f".recipe.yaml.{os.getpid()}.tmp").symlink_to(target)
    (tmp_path / "recipe.yaml").symlink_to(target)
    with replacing(tmp_path / "recipe.yaml") as draft:
        draft.write_text("a run")
    assert target.read_text() == "mine"
    assert (tmp_path / "recipe.yaml").read_text() == "a run"


@pytest.mark.parametrize("module", [crossval, sync])
def test_commands_start_others_without_the_folder_on_the_path(
    module: Any, here: Here, digits_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def run(command: list[str], **_: Any) -> Any:
        seen.append(command)
        return subprocess.CompletedProcess(command, 2, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    if module is crossval:
        here("crossval", "classifier/digits", code=2)
    else:
        part = here.folder / "offline-run-1" / "run-1.wandb"
        part.parent.mkdir()
        sync._upload(part.parent)
    assert seen
    assert all(command[1] == "-P" for command in seen)


@pytest.mark.parametrize(
    "words",
    [
        [f"data={BORING}.BoringDataModule"],
        ["data=lightning.LightningDataModule"],
        ["data=Images"],
        ["data=TorchvisionImages"],
        ["data=genlab.data.images.Images"],
    ],
    ids=str,
)
def test_classes_that_are_no_recipes_parts(here: Here, words: list[str]) -> None:
    _, err = here("fit", "vae/digits", *words, "trainer.max_steps=1", code=2)
    assert len(err.splitlines()) <= 3
    assert "Traceback" not in err
    assert not here.runs()


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "vae/digits", "--print_config"],
        ["submit", "vae/digits", "--dry-run"],
        ["bench", "vae/digits"],
        ["sweep", "vae/digits", "model.lr=1,2", "--dry-run"],
    ],
    ids=str,
)
def test_a_function_is_no_data_class(stranger: Stranger, words: list[str]) -> None:
    given = ["data=os.system", "data.command=touch MARK"]
    _, err = stranger.here(*words[:2], *given, *words[2:], code=2)
    assert len(err.splitlines()) <= 3
    assert not stranger.marked


def test_runs_of_the_former_layout_go_on_and_load(
    here: Here, trained: dict[str, Path], tmp_path: Path
) -> None:
    import shutil

    run = here.folder / "runs" / "vae" / "digits" / "old"
    shutil.copytree(trained["vae"], run)
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["model"]["class_path"] = "genlab.methods.vae.VAE"
    recipe["data"]["class_path"] = "genlab.data.digits.Digits"
    recipe["trainer"]["callbacks"] = [
        {"class_path": "genlab.callbacks.plane.Plane"},
        {"class_path": "genlab.callbacks.pictures.Pictures"},
    ]
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    file = run / "checkpoints" / "last.ckpt"
    content = torch.load(file, weights_only=True)
    content["genlab"]["recipe"] = recipe
    content["hyper_parameters"]["_class_path"] = "genlab.methods.vae.VAE"
    torch.save(content, file)
    here("fit", "--resume", str(run), "trainer.max_steps=2")
    here("test", str(run), "--json")
    assert type(genlab.load(run)).__name__ == "VAE"
    written = yaml.safe_load((run / "recipe.yaml").read_text())
    assert written["model"]["class_path"] == "VAE"
    assert written["trainer"]["callbacks"][0]["class_path"] == "PlanePictures"


def test_a_folder_of_traps_runs_nothing(
    shell: Shell, trained: dict[str, Path], tmp_path: Path
) -> None:
    trap = "from pathlib import Path; Path('MARK').touch()\n"
    for name in ("torch.py", "wandb.py", "lightning.py", "yaml.py", "mylab/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(trap)
    (tmp_path / "pyproject.toml").write_text('[tool.genlab]\nplugins = ["mylab"]\n')
    file = trained["vae"] / "checkpoints" / "last.ckpt"
    command = [sys.executable, "-P", "-m", "genlab"]  # as the installed command
    for words in (["ls"], ["test", str(file)]):
        done = subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "MARK").exists()
    subprocess.run([sys.executable, "-c", "import wandb"], cwd=tmp_path, check=True)  # the control
    assert (tmp_path / "MARK").exists()
