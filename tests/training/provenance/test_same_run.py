"""Two runs of one fingerprint and seed are the same run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import genlab
from genlab import recipes, runs
from genlab.recipes import fingerprints
from genlab.training.provenance import same_run
from tests.conftest import Here

RECIPE = """
config: vae/digits
data: {limit: 64, batch_size: 32, val_size: 32}
model: {class_path: Mine, init_args: {latent_dim: 4}}
trainer: {max_steps: 2, callbacks: []}
track: {wandb: "off", test_after_fit: false}
"""
FILES = {
    "__init__.py": "",
    "methods/__init__.py": "",
    "methods/mine.py": '''"""Mine."""
import genlab
from ownlab.losses import noise
class Mine(genlab.methods.VAE):
    """A VAE with noise."""
    def training_step(self, batch, number):
        dark = batch["image"] * (1 - noise(batch["seed"]))
        return super().training_step(batch | {"image": dark}, number)
''',
    "losses.py": "def noise(seed, scale=0.0):\n    return scale * (seed % 2)\n",
}


class Lab:
    """A plugin with a method and a recipe, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in FILES.items():
            (folder / "ownlab" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "ownlab" / name).write_text(text)
        (folder / "pyproject.toml").write_text('[tool.genlab]\nplugins = ["ownlab"]\n')
        (folder / "mine.yaml").write_text(RECIPE)

    def change(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new))

    def train(self, recipe: str | Path | None = "mine.yaml", **given: Any) -> genlab.Run:
        for name in [name for name in sys.modules if name.partition(".")[0] == "ownlab"]:
            del sys.modules[name]
        return genlab.fit(recipe, **given)


def of(run: genlab.Run) -> str:
    found = runs.read_json(run.path / "run.json")["fingerprint"]
    newest = torch.load(runs.checkpoints(run.path)[0], weights_only=True)
    assert newest["genlab"]["fingerprint"] == found
    return str(found)


@pytest.fixture
def lab(here: Here, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("XDG_CACHE_HOME", str(here.folder / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    return Lab(here.folder)


def other_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    found = fingerprints.versions() | {"torch": "0.1"}
    monkeypatch.setattr(fingerprints, "versions", lambda: found)


def test_comments_paths_and_docstrings_change_nothing_code_and_versions_do(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = of(lab.train())
    lab.change("mine.yaml", "\ndata:", "\n# A comment.\ndata:")
    lab.change("mine.yaml", "track: {", "track: {tags: [a], runs: elsewhere, ")
    lab.change("ownlab/methods/mine.py", "A VAE with noise", "Another docstring")
    lab.change("ownlab/losses.py", "def noise", "# of the batch\ndef noise")
    assert of(lab.train(settings={"data.root": "elsewhere", "seed_everything": 3})) == first
    found = [first]
    changes: list[Callable[[], None]] = [
        lambda: lab.change("ownlab/losses.py", "scale=0.0", "scale=0.5"),
        lambda: lab.change("ownlab/methods/mine.py", 'batch["seed"]', 'batch["seed"] + 1'),
        lambda: other_torch(monkeypatch),
    ]
    for change in changes:
        change()
        found.append(of(lab.train()))
    assert len(set(found)) == 4


def test_a_resumed_run_and_its_own_recipe_are_the_same_run_until_settings_change(lab: Lab) -> None:
    run = lab.train()
    first = of(run)
    (run.path / "metrics.json").unlink()  # as if it had been killed before its end
    lab.train(None, resume=run)
    facts = runs.read_json(run.path / "run.json")
    assert [start["fingerprint"] for start in facts["history"]] == [first, first]
    assert of(run) == first == of(lab.train(run.path / "recipe.yaml"))
    spelt = fingerprints.of_run(recipes.of_run(run.path), facts.get("parents", {}))
    assert fingerprints.fingerprint(spelt) == first
    lab.train(None, resume=run, settings={"trainer.max_steps": 3})
    starts = runs.read_json(run.path / "run.json")["history"]
    assert same_run.segments(starts) == [(0, first), (2, starts[-1]["fingerprint"])]
    longer = lab.train(settings={"trainer.max_steps": 3})
    assert starts[-1]["fingerprint"] == of(longer) != of(run) != first


def test_a_finetuned_run_has_its_parents_content_and_not_its_place(lab: Lab) -> None:
    small = {"data.limit": 64, "data.batch_size": 32, "trainer.max_steps": 1, "track.wandb": "off"}
    small |= {"track.test_after_fit": False, "trainer.limit_val_batches": 1}
    parent = genlab.fit("simclr/digits", small)
    finetuned = genlab.fit("linear/digits", small | {"model.pretrained": str(parent.path)})
    parent.path.rename(parent.path.with_name("moved"))
    moved = small | {"model.pretrained": str(parent.path.with_name("moved"))}
    assert of(genlab.fit("linear/digits", moved)) == of(finetuned)
    (finetuned.path / "metrics.json").unlink()
    before = of(finetuned)
    genlab.fit(resume=finetuned)  # its parent is gone
    assert of(finetuned) == before


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        ([(0, "a"), (5, "a")], [(0, "a")]),
        ([(0, "a"), (5, "b"), (5, "a")], [(0, "a")]),  # killed before it wrote a checkpoint
        ([(0, "a"), (0, "b")], [(0, "b")]),
        ([(0, "a"), (9, "b"), (4, "c"), (6, "a")], [(0, "a"), (4, "c"), (6, "a")]),
        ([(0, None), (5, "a")], [(0, ""), (5, "a")]),  # begun by an older version
        ([(5, "a")], [(0, ""), (5, "a")]),
    ],
)
def test_lost_steps_take_their_fingerprint_with_them(
    starts: list[tuple[int, str]], expected: list[tuple[int, str]]
) -> None:
    history = [{"step": step, "fingerprint": own} for step, own in starts]
    assert same_run.segments(history) == expected
