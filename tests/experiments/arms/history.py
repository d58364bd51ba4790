"""What git tells of studies and their results."""

from __future__ import annotations

import subprocess
from pathlib import Path

from genlab import recipes

FIXED = (  # before the first result; metrics may be read later, as long as they do not decide
    "question", "prediction", "decides", "recipe", "settings", "arms", "grid", "steps", "budget",
    "seeds", "evaluate", "equal",
)  # fmt: skip


def changed_after_results(root: Path, name: str) -> list[str]:
    """What of a study is not as it was in the commit before its first result.

    Args:
        root: a checkout.
        name: the study's.
    """
    file, data = f"recipes/studies/{name}.yaml", f"docs/studies/{name}.json"
    added = git(root, "log", "--diff-filter=A", "--format=%H", "--", data).split()
    if not added:
        return []
    text = git(root, "show", f"{added[-1]}^:{file}")
    if not text:
        return [f"{name}: no older than its first result"]
    before = recipes.parse(recipes.split(text + "\n")[1], file)
    today = recipes.read(root / file)
    changed = [key for key in FIXED if before.get(key) != today.get(key)]
    return [f"{name}: {key} was changed after the first result" for key in changed]


def git(root: Path, *words: str) -> str:
    """What a command of git prints in a folder; empty where it fails."""
    own = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *own, *words], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
