"""Files of the repository that are pages of the site as they are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIES = {  # page -> file of the repository
    "guides/cluster.md": "slurm/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(#[^)\s]*)?\)")


def copies() -> dict[str, str]:
    """Pages with the text of each, links turned to the place of the page."""
    return {page: _moved((ROOT / file).read_text(), page, file) for page, file in COPIES.items()}


def _moved(text: str, page: str, file: str) -> str:
    """Links of a file that stands elsewhere; a file that is not a page is named, not linked."""
    up = "../" * page.count("/")
    places = {(ROOT / f).resolve(): p for p, f in COPIES.items()}

    def moved(match: re.Match[str]) -> str:
        target = (ROOT / file).parent.joinpath(match[1]).resolve()
        inside = target.is_relative_to(ROOT / "docs") and target.suffix == ".md"
        place = target.relative_to(ROOT / "docs").as_posix() if inside else places.get(target)
        return f"]({up}{place}{match[2] or ''})" if place else "]"

    return LINK.sub(moved, text)
