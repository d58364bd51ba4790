"""What pages repeat by hand, against where it stands in the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path, PurePath

from genlab import run_files

ROOT = Path(__file__).parents[2]
RARE = {
    "trust.json", "per_class.csv", "other_data/", ".lock", "slurm-<job>.log", "checkpoints/",
    "<id>.tar.gz", "<id>.tar.gz.sha256", ".registry.json", ".registry-settings.json",
    ".limit.lock",
}  # fmt: skip


def test_the_layers_are_those_of_the_contract() -> None:
    text = (ROOT / "docs" / "explanation" / "design.md").read_text().partition("## Layers")[2]
    block = " ".join(text.split("```")[1].removeprefix("text").split())
    shown = [set(layer.split(" | ")) for layer in block.split(" > ")]
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(one["layers"] for one in tools["contracts"] if one["type"] == "layers")
    assert shown == [set(re.findall(r"genlab\.(\w+)", layer)) for layer in layers]


def test_the_table_of_a_runs_files_is_that_of_the_code() -> None:
    text = (ROOT / "docs" / "start" / "run-directory.md").read_text()
    rows = re.findall(r"^\| (`[\w./]+`.*?) \|", text, re.M)
    shown = [name for row in rows for name in re.findall(r"`([\w./]+)`", row)]
    assert len(shown) > 10
    assert all(run_files.find(PurePath(name)) is not None for name in shown)
    tops = {one.name for one in run_files.FILES if "/" not in one.name.rstrip("/")}
    assert tops - RARE == {name for name in shown if "/" not in name.rstrip("/")}
