"""Commands of README and guides: each is run as it stands, or for two steps where it is marked."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from genlab import recipes
from tests.conftest import Shell

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>needs|file): (?P<value>\S+) -->\n)?"
    r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.M | re.S,
)
KINDS = {"sh", "console", "python", "yaml", "text", "toml"}
NEEDS = {"gpu", "slurm", "network", "minutes", "project"}
TRAINS = {"fit", "submit", "sweep", "crossval", "bench"}
TWO_STEPS = [
    "trainer.max_steps=2", "trainer.limit_val_batches=1", "trainer.limit_test_batches=1",
    "trainer.devices=1", "trainer.num_nodes=1", "trainer.accelerator=cpu",
    "trainer.precision=32-true", "data.batch_size=8",
]  # fmt: skip
ELSEWHERE = {"make", "source", "uv", "pip", "pytest", "python"}  # set-up, not genlab


@dataclass(frozen=True)
class Command:
    """A command that a reader types, with what it needs beyond a laptop."""

    words: tuple[str, ...]
    needs: str | None


@dataclass(frozen=True)
class Written:
    """A file that a page shows."""

    name: str
    text: str


def steps(page: Path) -> list[Command | Written]:
    """The commands and files of a page, in their order."""
    found: list[Command | Written] = []
    for block in BLOCK.finditer(page.read_text()):
        if block["mark"] == "file":
            found.append(Written(block["value"], block["text"]))
            continue
        lines = block["text"].replace("\\\n", " ").splitlines()
        if block["kind"] == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        elif block["kind"] != "sh":
            continue
        parts = [part for line in lines for part in line.split(" && ")]
        split = [tuple(shlex.split(part, comments=True)) for part in parts]
        found += [Command(words, block["value"]) for words in split if words]
    return found


def images(folder: Path) -> None:
    """A folder of 80 images in two classes."""
    numbers = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for k in range(40):
            pixels = numbers.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k}.jpg")


def argument_list(command: Command) -> list[str]:
    """The words after ``genlab``; two steps, or dry, where the command is marked."""
    words = list(command.words[1:])
    if words[0] == "submit":
        return [*words, "--dry-run"]
    if command.needs and words[0] == "fit" and "--print_config" not in words:
        return [w for w in words if not w.startswith("trainer.devices=")] + TWO_STEPS
    return words


def follow(page: Path, shell: Shell) -> None:
    """Do what a page says, in one folder that has what its capital letters stand for."""
    for name in ("FOLDER", "OTHER"):
        images(shell.folder / name)
    weights = timm.create_model("resnet18", num_classes=10).state_dict()
    torch.save(weights, shell.folder / "weights.pth")
    for step in steps(page):
        if isinstance(step, Written):
            (shell.folder / step.name).write_text(step.text)
        elif step.words[:2] == ("git", "clone"):
            (shell.folder / step.words[-1]).mkdir()
        elif step.words[0] == "cd":
            shell.folder /= step.words[1]
        elif step.words[0] == "torchrun":
            words = step.words[step.words.index("genlab") :]
            shell(*argument_list(Command(words, "gpu")), WANDB_MODE="offline")
        elif step.words[0] == "genlab":
            shell(*argument_list(step), WANDB_MODE="offline")
        else:
            assert step.words[0] in ELSEWHERE, step.words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_says_what_it_is(page: Path) -> None:
    text = page.read_text()
    assert text.count("\n```") % 2 == 0
    for block in BLOCK.finditer(text):
        assert block["kind"] in KINDS, block["text"]
        assert block["mark"] != "needs" or block["value"] in NEEDS, block["value"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_name_recipes_that_exist(page: Path) -> None:
    known = set(recipes.shipped()) | {"rotation/digits"}  # of the project that `genlab new` writes
    for step in steps(page):
        if isinstance(step, Command) and step.words[0] == "genlab" and step.words[1] in TRAINS:
            named = [w for w in step.words if re.fullmatch(r"[a-z0-9_]+/[a-z0-9_]+", w)]
            assert known.issuperset(named), step.words


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("page", [p for p in PAGES if steps(p)], ids=lambda page: page.stem)
def test_commands_of_a_page_work(page: Path, shell: Shell) -> None:
    follow(page, shell)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_of_a_page_works(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCK.finditer(page.read_text()):
        if block["kind"] == "python" and block["mark"] is None:
            exec(compile(block["text"], page.name, "exec"), names)
