"""Definitions found by name in source text."""

from __future__ import annotations

from pathlib import Path

import pytest

from genlab.describing import source
from tests.conftest import Here


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("SimCLR", "genlab.methods.simclr.SimCLR"),
        ("KNN", "genlab.methods.knn.KNN"),  # a recipe may name it, not that of metrics
        ("metrics.KNN", "genlab.metrics.knn.KNN"),
        ("optim.build", "genlab.optim.building.build"),
        ("genlab.data.image_folder.ImageFolder", "genlab.data.image_folder.ImageFolder"),
        ("lightning.pytorch.callbacks.EarlyStopping",
         "lightning.pytorch.callbacks.early_stopping.EarlyStopping"),
    ],
)  # fmt: skip
def test_a_name_means_the_definition_that_recipes_name_first(name: str, path: str) -> None:
    found = source.find(name)[0]
    assert found.path == path
    line = found.file.read_text().splitlines()[found.line - 1]
    assert line.startswith((f"class {found.name}", f"def {found.name}"))
    assert found.place.endswith(f"{found.file.name}:{found.line}")


@pytest.mark.parametrize("name", ["SimCRL", "nowhere.at.All", "genlab.methods.Nothing", "a-b.c d"])
def test_an_unknown_name_is_not_found(name: str) -> None:
    assert source.find(name) == []


def test_a_plugins_class_is_found_without_an_import(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("lab_described/methods")
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise SystemExit")
    (folder / "mine.py").write_text('class Mine:\n    """A method of my own."""\n')
    monkeypatch.setenv("GENLAB_PLUGINS", "lab_described")
    out, _ = here("explain", "Mine")
    assert "A method of my own." in out
    assert "lab_described/methods/mine.py:1" in out
