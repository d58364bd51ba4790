"""The index of studies: comparisons over several runs, each a page in ``docs/studies``."""

from __future__ import annotations

from pathlib import Path

from docs.builder.copies import ROOT
from docs.builder.markdown import table
from genlab.experiments.reports import document, study_page

PLACE = ROOT / "docs" / "studies"
INTRODUCTION = """# Studies

A study compares recipes over several runs and says what follows, with the command of every number.
[Sweeps and studies](../guides/sweeps.md) has the commands; [Results](../results.md) those of single
recipes.

"""
NONE = "None yet. A page in `docs/studies` appears here by its title and its first paragraph.\n"


def studies(place: Path = PLACE) -> dict[str, tuple[str, str]]:
    """Title and first paragraph of each study by its file's path."""
    return {
        file.relative_to(place).as_posix(): _head(file.read_text(encoding="utf-8"))
        for file in sorted(place.rglob("*.md"))
    }


def _head(text: str) -> tuple[str, str]:
    title, _, rest = text.strip().partition("\n")
    return title.lstrip("# "), " ".join(rest.strip().partition("\n\n")[0].split())


def reports(place: Path = PLACE) -> dict[str, str]:
    """Interactive page of each study whose results stand next to its Markdown, by its path."""
    found: dict[str, str] = {}
    for data in sorted(place.rglob("*.json")):
        name = data.relative_to(place).with_suffix("").as_posix()
        report = study_page.page(name, place / "none", place)
        if report is not None:
            found[f"{name}-report.html"] = document.html(report, f"genlab report {name}")
    return found


def pages(place: Path = PLACE) -> dict[str, str]:
    """The index of all studies, their order in the navigation, and their interactive pages."""
    found, interactive = studies(place), reports(place)
    rows = []
    for name, (title, says) in found.items():
        report = f"{name.removesuffix('.md')}-report.html"
        link = f"[open]({report})" if report in interactive else "-"
        rows.append((f"[{title}]({name})", says, link))
    listed = [f"* [{title}]({name})" for name, (title, _) in found.items()]
    summary = "\n".join(["* [Studies](index.md)", *listed]) + "\n"
    index = INTRODUCTION + (table(("study", "what it says", "interactive"), rows) or NONE)
    written = {f"studies/{name}": text for name, text in interactive.items()}
    return {"studies/index.md": index, "studies/SUMMARY.md": summary} | written
