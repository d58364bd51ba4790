"""Commands of README and guides: each is run as it stands, or for two steps where it is marked.

In CI every training is cut to a few steps, so that each command is run within minutes.
"""

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
from safetensors.torch import save_file

from genlab import recipes
from tests.conftest import Shell

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "slurm" / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>needs|file): (?P<value>\S+) -->\n)?"
    r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.M | re.S,
)
INLINE = re.compile(r"(?<!`)`(genlab [^`\n]+)`(?!`)")
STANDS_FOR = re.compile(
    r"(?<![\w.-])(?!FOLDER|OTHER)[A-Z]{1,}\b|\.\.\.|key=value"
)  # something else
RUN_ID = r"\d{8}-\d{6}-\w{4}"
NUMBER = re.compile(rf"{RUN_ID}|\d[\d,]*(?:\.\d+)?")
KINDS = {"sh", "console", "python", "yaml", "text", "toml"}
NEEDS = {"gpu", "slurm", "network", "minutes", "project"}
TRAINS = {"fit", "submit", "sweep", "crossval", "bench"}
TWO_STEPS = [
    "trainer.max_steps=2", "trainer.limit_val_batches=1", "trainer.limit_test_batches=1",
    "trainer.devices=1", "trainer.num_nodes=1", "trainer.accelerator=cpu",
    "trainer.precision=32-true", "data.batch_size=8",
]  # fmt: skip
FEW_STEPS = "trainer.max_steps=6"
LENGTHS = ("trainer.max_steps=", "trainer.max_epochs=")
ELSEWHERE = {"make", "source", "uv", "pip", "pytest", "python", "export"}  # set-up, not genlab


def named(page: Path) -> str:
    """Name of a page in the tests' names."""
    return page.relative_to(ROOT).with_suffix("").as_posix()


@dataclass(frozen=True)
class Command:
    """A command that a reader types, with what it needs beyond a laptop, and its quoted output."""

    words: tuple[str, ...]
    needs: str | None
    output: tuple[str, ...] = ()


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
        if block["kind"] == "sh":
            lines = block["text"].replace("\\\n", " ").splitlines()
            found += [Command(words, block["value"]) for line in lines for words in split(line)]
        elif block["kind"] == "console":
            for typed in block["text"].removeprefix("$ ").split("\n$ "):
                line, *output = typed.splitlines()
                shown = tuple(one for one in output if one != "...")
                found += [Command(words, block["value"], shown) for words in split(line)]
    return found


def split(line: str) -> list[tuple[str, ...]]:
    """The words of each command of a line."""
    parts = [tuple(shlex.split(part, comments=True)) for part in line.split(" && ")]
    return [words for words in parts if words]


def inline(page: Path) -> list[Command]:
    """Commands within sentences of a page, without mere names and those with placeholders."""
    text = BLOCK.sub("", page.read_text())
    whole = [one for one in INLINE.findall(text) if not STANDS_FOR.search(one)]
    commands = [split(one.partition("|")[0].rstrip("\\ "))[0] for one in whole]
    named = [words for words in commands if len(words) == 2 or words[2].startswith("--")]
    return [Command(c, None) for c in commands if c not in named or c[1] == "ls"]


def shows(output: str, line: str) -> bool:
    """True if an output has a line like a quoted one: equal words, numbers within 2 %.

    Times, speeds and names of runs differ from run to run.
    """
    shape = [re.sub(r"\s+", " ", part).strip() for part in NUMBER.split(line)]
    wanted = NUMBER.findall(line)
    for one in output.splitlines():
        if [re.sub(r"\s+", " ", part).strip() for part in NUMBER.split(one)] == shape:
            pairs = zip(NUMBER.findall(one), wanted, shape[1:], strict=True)
            return all(_near(*pair) for pair in pairs)
    return False


def _near(found: str, wanted: str, after: str) -> bool:
    if re.fullmatch(RUN_ID, wanted) or after.startswith(("images/s", ":", "ETA")):
        return True
    value, expected = (float(one.replace(",", "")) for one in (found, wanted))
    return abs(value - expected) <= 0.02 * abs(expected)


def images(folder: Path) -> None:
    """A folder of 80 images in two classes."""
    numbers = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for k in range(40):
            pixels = numbers.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k}.jpg")


def argument_list(command: Command, whole: bool = True) -> list[str]:
    """The words after ``genlab``; two steps, or dry, where the command is marked.

    Args:
        command: what the page says.
        whole: False to cut each training to a few steps, and judges to a few samples.
    """
    words = list(command.words[1:])
    if words[0] == "evaluate" and "--judge" in words and not whole and "--samples" not in words:
        return [*words, "--samples", "64"]
    if words[0] == "submit":
        return words if "--dry-run" in words else [*words, "--dry-run"]
    if words[0] != "fit" or "--print_config" in words:
        return words
    if command.needs:
        return [w for w in words if not w.startswith("trainer.devices=")] + TWO_STEPS
    if whole or any(word.startswith(LENGTHS) for word in words):
        return words
    return [*words, FEW_STEPS]


def follow(page: Path, shell: Shell, whole: bool = True) -> None:
    """Do what a page says, in one folder that has what its capital letters stand for."""
    start = shell.folder
    for name in ("FOLDER", "OTHER"):
        images(start / name)
    weights = timm.create_model("resnet18", num_classes=10).state_dict()
    torch.save(weights, start / "weights.pth")
    if "weights.safetensors" in page.read_text():
        vit = timm.create_model("vit_small_patch16_224", num_classes=0).state_dict()
        save_file(vit, start / "weights.safetensors")
    for step in steps(page):
        follow_step(step, shell, whole)
    shell.folder = start
    for command in inline(page):
        follow_step(command, shell, whole)


def follow_step(step: Command | Written, shell: Shell, whole: bool) -> None:
    """Write the file, or run the command."""
    if isinstance(step, Written):
        (shell.folder / step.name).write_text(step.text)
    elif step.words[:2] == ("git", "clone"):
        (shell.folder / step.words[-1]).mkdir()
    elif step.words[0] == "cd":
        shell.folder /= step.words[1]
    elif step.words[0] == "torchrun":
        words = step.words[step.words.index("genlab") :]
        shell(*argument_list(Command(words, "gpu")), WANDB_MODE="offline")
    elif step.words[0] != "genlab":
        assert step.words[0] in ELSEWHERE, step.words
    elif step.needs == "network":
        pass  # what is fetched; `test_commands_name_recipes_that_exist` reads it
    elif step.needs != "slurm" or (step.words[1] == "submit" and "--resume" not in step.words):
        said = "".join(shell(*argument_list(step, whole), WANDB_MODE="offline"))
        missing = [line for line in step.output if not shows(said, line)]
        assert not (whole and missing), (missing, said)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_block_says_what_it_is(page: Path) -> None:
    text = page.read_text()
    assert text.count("\n```") % 2 == 0
    for block in BLOCK.finditer(text):
        assert block["kind"] in KINDS, block["text"]
        assert block["mark"] != "needs" or block["value"] in NEEDS, block["value"]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_name_recipes_that_exist(page: Path) -> None:
    known = set(recipes.shipped()) | {"turns/digits"}  # of the project that `genlab new` writes
    for step in steps(page):
        if isinstance(step, Command) and step.words[0] == "genlab" and step.words[1] in TRAINS:
            named = [w for w in step.words if re.fullmatch(r"[a-z0-9_]+/[a-z0-9_]+", w)]
            assert known.issuperset(named), step.words


COMMANDED = [page for page in PAGES if steps(page) or inline(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", COMMANDED, ids=named)
def test_commands_of_a_page_start(page: Path, shell: Shell) -> None:
    follow(page, shell, whole=False)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("page", COMMANDED, ids=named)
def test_commands_of_a_page_work_as_they_stand(page: Path, shell: Shell) -> None:
    follow(page, shell)


def test_commands_in_sentences_are_found() -> None:
    found = [command.words[1:3] for command in inline(ROOT / "README.md")]
    assert ("submit", "simclr/cifar10") in found
    assert ("fit", "vae/mnist") in found
    assert not {"RUN", "RECIPE", "NAME"} & {word for words in found for word in words}


@pytest.mark.parametrize(
    ("output", "same"),
    [
        ("loss 3.90  9 images/s  ETA 0:00\n", True),
        ("loss 3.10  9 images/s  ETA 0:00\n", False),
        ("lost 3.90  9 images/s  ETA 0:00\n", False),
    ],
)
def test_quoted_output_is_compared(output: str, same: bool) -> None:
    assert shows(f"a\n{output}", "loss 3.904  3,204 images/s  ETA 0:00") == same


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=named)
def test_python_of_a_page_works(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCK.finditer(page.read_text()):
        if block["kind"] == "python" and block["mark"] is None:
            exec(compile(block["text"], page.name, "exec"), names)
