"""JSON files of a run, which anybody may have edited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genlab.files import keep_damaged, replacing, text_of
from genlab.process import note


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file in one step; a damaged one is copied first."""
    if kept := keep_damaged(file):
        note(f"{file} is damaged: it is written anew, and kept as {kept.name}")
    with replacing(file) as draft:
        draft.write_text(json.dumps(content, indent=2) + "\n")


def whole_number(value: Any, default: int = 0) -> int:
    """A number out of a file that anybody may have edited."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def read_json(file: Path) -> dict[str, Any]:
    """The content of a JSON file, empty when there is none or it is damaged."""
    try:
        content = json.loads(text_of(file))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
