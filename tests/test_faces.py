"""What packages show: their files' classes, loaded on first use."""

from __future__ import annotations

import ast
import inspect
import pydoc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import genlab
from genlab import faces, recipes


def test_methods_are_reached_by_file_and_by_name() -> None:
    from genlab.methods import VAE

    assert genlab.methods.vae.VAE is VAE
    assert genlab.methods.VAE is VAE
    with pytest.raises(AttributeError, match="has no attribute 'VEA'"):
        genlab.methods.VEA  # noqa: B018


@pytest.mark.parametrize("name", recipes.classes("methods"))
def test_a_method_reads_views_or_says_that_it_does_not(name: str) -> None:
    kind: Any = recipes.load_class(recipes.classes("methods")[name], object)
    source = Path(str(inspect.getfile(kind))).read_text()
    reads = "genlab.augment.pairs" in source or '["views"]' in source
    assert getattr(kind, "reads_views", True) == reads


@pytest.mark.parametrize("package", ["methods", "data", "callbacks"])
def test_completion_and_help_know_every_class(package: str) -> None:
    module = getattr(genlab, package)
    offered = dir(module)
    assert set(faces.homes(f"genlab.{package}")) <= set(offered)
    assert all(hasattr(module, name) for name in offered)
    text = pydoc.plain(pydoc.render_doc(module))
    assert all(f"class {name}" in text for name in faces.homes(f"genlab.{package}"))


@pytest.mark.parametrize("package", ["data", "callbacks"])
def test_what_type_checkers_are_told_is_there(package: str) -> None:
    tree = ast.parse(Path(str(getattr(genlab, package).__file__)).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    told = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom)
            for alias in node.names}  # fmt: skip
    found = faces.homes(f"genlab.{package}")
    assert told.items() <= found.items()
    assert {n for n, m in recipes.classes(package).items() if m.startswith("genlab.")} <= {*told}


def test_importing_genlab_is_light_and_shows_its_own_names_only() -> None:
    program = "import genlab, sys; print(dir(genlab)); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    names, heavy = done.stdout.splitlines()
    assert ast.literal_eval(names) == sorted(genlab.__all__)
    assert heavy == "False"
