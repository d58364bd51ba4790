"""Plugins: a package of the user's own is read as text, and imported when a class is asked for."""

from __future__ import annotations

import os
import subprocess
import sys

import lightning as L
import pytest

from genlab import recipes
from genlab.errors import InputError
from genlab.recipes import plugins
from tests.conftest import Here

METHOD = """
from pathlib import Path
import lightning as L
Path("IMPORTED").touch()
class Mine(L.LightningModule):
    def __init__(self, width: int = 3): super().__init__()
"""
RECIPE = "# My own.\n# Cost: 1 CPU second\nconfig: vae/digits\nmodel: {class_path: Mine}\n"


@pytest.fixture
def lab(request: pytest.FixtureRequest, here: Here, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a plugin in the working directory, whose pyproject.toml declares it."""
    name = f"lab_{abs(hash(request.node.name))}"
    for folder in ("methods", "recipes/mine"):
        (here.folder / name / folder).mkdir(parents=True)
    (here.folder / name / "__init__.py").touch()
    (here.folder / name / "methods" / "__init__.py").touch()
    (here.folder / name / "methods" / "mine.py").write_text(METHOD)
    (here.folder / name / "recipes" / "mine" / "digits.yaml").write_text(RECIPE)
    (here.folder / "pyproject.toml").write_text(f'[tool.genlab]\nplugins = ["{name}"]\n')
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


def test_a_plugins_classes_have_short_names_hints_and_checked_keys(lab: str, here: Here) -> None:
    out, _ = here("ls", "mine")
    assert "mine/digits" in out
    assert "Mine" in out
    assert here("show", "mine/digits")[0].count("class_path: Mine") == 1
    assert "did you mean Mine?" in here("fit", "vae/digits", "model=Minne", code=2)[1]
    assert "did you mean width?" in here("fit", "mine/digits", "model.widht=3", code=2)[1]
    assert not (here.folder / "IMPORTED").exists()  # all of it from the syntax tree


def test_the_first_import_names_the_file_that_declares_it(
    lab: str, here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recipes.load_class("Mine", L.LightningModule, trusted=()).__name__ == "Mine"
    err = capsys.readouterr().err
    assert err.splitlines() == [f"plugin {lab}: declared by {here.folder / 'pyproject.toml'}"]
    recipes.load_class(f"{lab}.methods.mine.Mine", L.LightningModule)
    assert not capsys.readouterr().err
    assert sys.path.index(str(here.folder)) >= len(sys.path) - 2


def test_an_empty_variable_switches_all_off(
    lab: str, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENLAB_PLUGINS", "")
    assert plugins.declared() == {}
    assert "no recipe matches" in here("ls", "mine/", code=2)[1]
    with pytest.raises(InputError, match="--trust"):
        recipes.load_class(f"{lab}.methods.mine.Mine", L.LightningModule, trusted=())
    assert not (here.folder / "IMPORTED").exists()


def test_a_variable_declares_too(lab: str, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    (here.folder / "pyproject.toml").unlink()
    assert plugins.declared() == {}
    monkeypatch.setenv("GENLAB_PLUGINS", lab)
    assert recipes.classes("methods")["Mine"] == f"{lab}.methods.mine.Mine"


def test_the_declaration_is_looked_for_up_to_the_git_root_only(
    lab: str, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = here.folder / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert plugins.declared() == {}  # neither a git root nor home above: only the folder itself
    (here.folder / ".git").mkdir()
    plugins._declared.cache_clear()
    assert list(plugins.declared()) == [lab]
    (here.folder / "a" / ".git").mkdir()
    plugins._declared.cache_clear()
    assert plugins.declared() == {}


def test_wrong_declarations(here: Here) -> None:
    file = here.folder / "pyproject.toml"
    for text in (
        "[tool.genlab]\nplugins = 'mylab'",
        "[tool.genlab",
        '[tool.genlab]\nplugins = ["../x"]',
    ):
        file.write_text(text)
        plugins._declared.cache_clear()
        _, err = here("ls", code=2)
        assert len(err.splitlines()) <= 3
    plugins._declared.cache_clear()


def test_files_named_like_libraries_are_not_imported(lab: str, here: Here) -> None:
    """``genlab`` and ``python -m genlab`` in a folder of traps run none of them."""
    trap = "from pathlib import Path\nPath('TRAPPED').touch()\n"
    for name in ("wandb", "torch", "yaml", "argparse", "netrc"):
        (here.folder / f"{name}.py").write_text(trap)
    keep = {k: v for k, v in os.environ.items() if k != "GENLAB_PLUGINS"}
    command = [sys.executable, "-m", "genlab", "ls"]
    done = subprocess.run(
        command, cwd=here.folder, env=keep, capture_output=True, text=True, check=True
    )
    assert "mine/digits" in done.stdout
    assert not list(here.folder.glob("*ED"))
    subprocess.run([sys.executable, "-c", "import netrc"], cwd=here.folder, check=True)
    assert (here.folder / "TRAPPED").exists()  # the control


@pytest.mark.parametrize("value", ["{}", "{}.plugin", "{}.plugin:register"])
def test_an_entry_point_of_an_installed_package_declares_too(
    lab: str, here: Here, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    (here.folder / "pyproject.toml").unlink()
    facts = here.folder / f"{lab}_dist-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {lab}-dist\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[genlab.plugins]\nmine = {value.format(lab)}\n")
    assert plugins.declared() == {}
    monkeypatch.setattr(sys, "path", [*sys.path, str(here.folder)])
    plugins._declared.cache_clear()
    found = plugins.declared()[lab]
    assert (found.source, found.folder) == (f"{lab}-dist's entry points", here.folder / lab)
    assert recipes.classes("methods")["Mine"] == f"{lab}.methods.mine.Mine"
    monkeypatch.setenv("GENLAB_PLUGINS", "")
    assert plugins.declared() == {}
    plugins._declared.cache_clear()
