"""The room's own rules: a test for each part, and no library before a part of it is asked for."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = [
    file.stem
    for file in Path(__file__).parents[2].glob("genlab/internals/*.py")
    if file.stem != "__init__"
]


@pytest.mark.parametrize("name", MODULES)
def test_every_part_has_a_test(name: str) -> None:
    module = importlib.import_module(f"genlab.internals.{name}")
    own = {
        part
        for part, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    }
    text = Path(__file__).with_name(f"test_{name}.py").read_text()
    text += Path(__file__).with_name("line.py").read_text().replace(f"{name}.", "parts.")
    asked = set(re.findall(r"\b(?:parts|messages)\.(\w+)", text)) | set(
        re.findall(r'^ +"(foreach_\w+)":', text, re.MULTILINE)
    )
    assert {part for part in own if not part.startswith("_")} - asked == set()


def test_no_library_is_imported_before_its_part_is_used() -> None:
    program = (
        f"import sys; from genlab.internals import {', '.join(MODULES)}; "
        "sys.exit(bool({'torch', 'lightning', 'timm', 'wandb', 'yaml'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
