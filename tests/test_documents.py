"""Commands of README and guides: each is run as it stands, or for two steps where it is marked."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genlab import recipes
from tests.conftest import Shell

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*/*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- needs: (?P<needs>[a-z]+) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
NEEDS = {"gpu", "slurm", "network", "minutes"}
TWO_STEPS = [
    "trainer.max_steps=2", "trainer.limit_val_batches=1", "trainer.limit_test_batches=1",
    "trainer.devices=1", "trainer.num_nodes=1", "trainer.accelerator=cpu",
    "trainer.precision=32-true", "data.batch_size=8",
]  # fmt: skip
ELSEWHERE = ("git ", "make ", "source ", "cd ", "uv ", "pytest ", "python ", "import ")


@dataclass(frozen=True)
class Command:
    """A line of a page that a reader types, with what it needs beyond a laptop."""

    line: str
    needs: str | None

    @property
    def words(self) -> list[str]:
        return shlex.split(self.line, comments=True)


def commands(page: Path) -> list[Command]:
    """The commands of a page's blocks, those of its shell only."""
    found = []
    for block in BLOCK.finditer(page.read_text()):
        lines = block["text"].replace("\\\n", " ").splitlines()
        if block["kind"] == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        elif block["kind"] != "sh":
            continue
        found += [Command(line, block["needs"]) for line in lines if line.strip()]
    return found


def images(folder: Path) -> Path:
    """A folder of 24 photographs in two classes."""
    numbers = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for k in range(12):
            pixels = numbers.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k}.jpg")
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_says_what_it_is(page: Path) -> None:
    for block in BLOCK.finditer(page.read_text()):
        assert block["kind"] in {"sh", "console", "python", "yaml", "text", "toml"}, block["text"]
        assert block["needs"] is None or block["needs"] in NEEDS, block["needs"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_name_recipes_that_exist(page: Path) -> None:
    known = set(recipes.shipped())
    for command in commands(page):
        words = command.words
        if words[0] == "genlab" and words[1] in {"fit", "submit", "sweep", "crossval", "bench"}:
            named = [w for w in words[2:] if re.fullmatch(r"[a-z0-9_]+/[a-z0-9_]+", w)]
            assert all(name in known for name in named), command.line


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_a_page_work(page: Path, shell: Shell) -> None:
    """In their order and in one folder; those that are marked run for two steps or dry."""
    for name in ("FOLDER", "OTHER"):
        images(shell.folder / name)
    for command in commands(page):
        words = command.words
        if words[0] == "torchrun":
            words = ["genlab", *words[words.index("genlab") + 1 :]]
        if words[0] != "genlab":
            assert command.line.startswith(ELSEWHERE), command.line
            continue
        words = words[1:]
        if words[0] == "submit":
            words.append("--dry-run")
        elif command.needs and words[0] == "fit":
            words = [w for w in words if not w.startswith("trainer.devices=")] + TWO_STEPS
        shell(*words, WANDB_MODE="offline")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_of_a_page_works(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCK.finditer(page.read_text()):
        if block["kind"] == "python":
            exec(compile(block["text"], page.name, "exec"), names)
