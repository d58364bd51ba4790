"""Fingerprints in the user's cache: computed once for as long as nothing behind them changes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from genlab import recipes
from genlab.recipes import fingerprints
from genlab.recipes import kept_fingerprints as module
from genlab.recipes.kept_fingerprints import Kept

RECIPE = "data: Digits\nmodel: {class_path: VAE, init_args: {latent_dim: 4}}\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "base.yaml").write_text(RECIPE)
    (tmp_path / "mine.yaml").write_text("config: base.yaml\n")
    return tmp_path / "mine.yaml"


def kept(file: Path) -> str:
    every = Kept()
    found = every.of(file)
    every.save()
    return found


def test_a_kept_fingerprint_is_the_computed_one_and_is_not_computed_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fingerprints.fingerprint(recipes.resolve([file]))
    assert kept(file) == expected
    with monkeypatch.context() as patched:
        patched.setattr(Kept, "_entry", lambda *_: pytest.fail("computed again"))
        assert kept(file) == expected


def test_a_change_of_a_base_or_of_a_version_is_seen(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {kept(file)}
    (file.parent / "base.yaml").write_text(RECIPE.replace("4", "16"))
    found.add(kept(file))
    monkeypatch.setattr(fingerprints, "versions", lambda: {"torch": "0.1"})
    found.add(kept(file))
    assert len(found) == 3


def test_a_change_of_code_is_seen(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file.parent / "mine.py").write_text("class Mine: a = 1\n")
    file.write_text("config: base.yaml\nmodel: {class_path: mine.Mine}\n")
    monkeypatch.chdir(file.parent)
    before = kept(file)
    (file.parent / "mine.py").write_text("class Mine: a = 22\n")
    assert kept(file) != before


def test_a_module_that_appears_and_a_file_that_changes_are_seen(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file.parent / "mine.py").write_text("import helper\nclass Mine(helper.Base): 0\n")
    file.write_text("config: base.yaml\nmodel: {class_path: mine.Mine, init_args: {w: ./w.pt}}\n")
    monkeypatch.chdir(file.parent)
    found = [kept(file)]
    for name, text in (("helper.py", "class Base: 1"), ("w.pt", "1"), ("w.pt", "22")):
        (file.parent / name).write_text(text)
        found.append(kept(file))
    assert len(set(found)) == 4


@pytest.mark.parametrize("text", ["", "[]", "{", '{"files": 3}', "3", "[" * 9999, "ENTRY"])
def test_a_damaged_cache_is_computed_anew(file: Path, text: str) -> None:
    place = Kept().place(str(file))
    place.parent.mkdir(parents=True)
    text = text.replace("ENTRY", json.dumps({"files": {}, "state": Kept()._state, "here": ""}))
    place.write_text(text)
    assert kept(file) == fingerprints.fingerprint(recipes.resolve([file]))


def test_an_entry_is_a_file_and_the_oldest_go(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe's entry and that of its code; other recipes' stay as they are."""
    assert kept(file)
    first = {one: one.read_text() for one in Kept().folder.iterdir()}
    assert Kept().place(str(file)) in first
    other = file.with_name("other.yaml")
    other.write_text("config: base.yaml\nmodel: {latent_dim: 3}\n")
    assert kept(other) != kept(file)
    assert len(list(Kept().folder.iterdir())) == len(first) + 1
    assert all(one.read_text() == text for one, text in first.items())
    for one in first:
        os.utime(one, (1, 1))
    monkeypatch.setattr(module, "MOST", len(first))
    other.write_text("config: base.yaml\nmodel: {latent_dim: 5}\n")
    assert kept(other)
    assert not first.keys() & {*Kept().folder.iterdir()}
    assert kept(file) == fingerprints.fingerprint(recipes.resolve([file]))


def test_a_cache_that_cannot_be_written_is_none(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    assert kept(file) == fingerprints.fingerprint(recipes.resolve([file]))
    assert os.path.getsize(tmp_path / "taken") == 0


def test_a_wrong_recipe_has_none(file: Path) -> None:
    file.write_text("config: gone.yaml\n")
    assert kept(file) == ""
