"""Files of the repository that are pages of the site."""

from __future__ import annotations

import re

from docs.builder.copies import COPIES, ROOT, _moved, copies


def test_copies_have_the_text_of_their_files() -> None:
    for page, text in copies().items():
        words = re.findall(r"\w+", (ROOT / COPIES[page]).read_text())
        assert len(words) > 100
        assert words[:20] == re.findall(r"\w+", text)[:20]


def test_links_lead_to_pages_from_the_new_place() -> None:
    text = (
        "[a](../docs/guides/own-data.md#x) [b](train.sbatch) [c](https://a.b) [d](../CHANGELOG.md)"
    )
    moved = _moved(text, "guides/cluster.md", "slurm/README.md")
    assert moved == "[a](../guides/own-data.md#x) [b] [c](https://a.b) [d](../changelog.md)"
