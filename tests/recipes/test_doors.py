"""A name becomes a class by one door."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import lightning as L
import pytest

import genlab
from genlab.errors import InputError
from genlab.recipes import allow, inside, load_class

MODULE = """
from pathlib import Path
import lightning as L
Path("IMPORTED").touch()
class Mine(L.LightningModule): pass
class Other: pass
def function(): Path("CALLED").touch()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.fixture
def module(request: pytest.FixtureRequest, folder: Path) -> str:
    """The name of a module of the user's own in the working directory."""
    name = f"own_{abs(hash(request.node.name))}"
    (folder / f"{name}.py").write_text(MODULE)
    return name


def test_short_names_and_names_of_an_earlier_layout() -> None:
    assert load_class("VAE", L.LightningModule).__module__ == "genlab.methods.vae"
    assert load_class("genlab.methods.VAE", L.LightningModule).__name__ == "VAE"
    old = load_class("genlab.callbacks.plane.Plane", L.Callback)
    assert old.__module__ == "genlab.callbacks.plane_pictures"
    assert load_class("EarlyStopping", L.Callback).__module__.startswith("lightning.")
    with pytest.raises(InputError, match=r"unknown class VEA\ndid you mean VAT or VAE"):
        load_class("VEA", L.LightningModule)


def test_a_typed_name_is_looked_for_behind_what_is_installed(module: str, folder: Path) -> None:
    assert load_class(f"{module}.Mine", L.LightningModule).__name__ == "Mine"
    assert sys.path[-1] == str(folder)
    assert (folder / "IMPORTED").exists()


@pytest.mark.parametrize("name", ["function", "Other", "L"])
def test_what_is_not_a_class_of_the_base_is_refused_uncalled(
    module: str, folder: Path, name: str
) -> None:
    with pytest.raises(InputError, match="is not a LightningModule") as refused:
        load_class(f"{module}.{name}", L.LightningModule)
    assert len(str(refused.value).splitlines()) <= 2
    assert not (folder / "CALLED").exists()


def test_a_module_that_is_not_found_says_how_to_make_it_found(folder: Path) -> None:
    with pytest.raises(InputError, match="no module nowhere\nstart genlab in the folder"):
        load_class("nowhere.Mine", L.LightningModule)


def test_a_broken_module_names_its_line(folder: Path, module: str) -> None:
    (folder / f"{module}_broken.py").write_text("import sys\nsys.nothing\n")
    with pytest.raises(InputError, match=r"AttributeError.*\nin .*_broken.py, line 2"):
        load_class(f"{module}_broken.Mine", L.LightningModule)


def test_a_name_from_inside_a_file_is_refused_before_its_module_is_imported(
    module: str, folder: Path
) -> None:
    path = f"{module}.Mine"
    with pytest.raises(InputError, match=f"{path} is refused.*\n.*--trust {path}"):
        load_class(path, L.LightningModule, trusted=())
    with inside(), pytest.raises(InputError, match="--trust"):
        load_class(path, L.LightningModule)
    assert not (folder / "IMPORTED").exists()
    with inside(), allow([module]):
        assert load_class(path, L.LightningModule).__name__ == "Mine"
    assert load_class(path, L.LightningModule, trusted=[path]).__name__ == "Mine"


def test_a_module_of_genlab_does_not_lend_what_it_imports() -> None:
    name = "genlab.callbacks.collapse_alarm.L.Callback"
    with pytest.raises(InputError):
        load_class(name, L.Callback, trusted=())
    with pytest.raises(InputError, match="refused"):
        load_class("genlab.training.engine.checkpointing.Checkpoint", L.Callback, trusted=())


NAMES = {  # of genlab's own or of an optional package, written in the source
    "faces.py", "__init__.py", "cli/__init__.py", "checkpoints/export/programs.py",
    "testing/ranks.py",
}  # fmt: skip


def test_no_other_code_turns_a_name_into_a_module() -> None:
    root = Path(genlab.__file__).parent
    for file in root.rglob("*.py"):
        where = file.relative_to(root).as_posix()
        called = {
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Call)
        }
        found = called & {"import_module", "__import__", "exec", "run_path", "run_module"}
        assert not found or where in {*NAMES, "recipes/doors.py"}, where
