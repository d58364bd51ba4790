"""A page for every public module, which mkdocstrings fills from the docstrings."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from docs.builder.copies import ROOT

PLACE = "reference/api"


@cache
def modules() -> dict[str, Path]:
    """Public modules and packages of genlab by dotted name."""
    found = {}
    for file in sorted((ROOT / "genlab").rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if not any(part.startswith("_") for part in name.split(".")):
            found[name] = file
    return found


def page_of(module: str) -> str:
    """A module's page: ``genlab.data.images`` -> ``reference/api/data/images.md``."""
    *folders, last = [PLACE, *module.split(".")[1:]]
    if module in packages():
        return "/".join([*folders, last, "index.md"])
    return "/".join([*folders, "index_module.md" if last == "index" else f"{last}.md"])


@cache
def packages() -> set[str]:
    """Names that have modules below them."""
    return {name.rpartition(".")[0] for name in modules()} - {""}


def first_line(file: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n")[0]


def api() -> dict[str, str]:
    """Each module's page; a package's lists its modules."""
    return {page_of(name): _page(name) for name in modules()}


def _page(name: str) -> str:
    text = f"# `{name}`\n\n::: {name}\n"
    inside = {n: f for n, f in modules().items() if n.rpartition(".")[0] == name}
    if not inside:
        return text
    here = page_of(name).rpartition("/")[0]
    rows = [
        f"| [`{n.rpartition('.')[2]}`]({Path(page_of(n)).relative_to(here)}) | {first_line(f)} |"
        for n, f in inside.items()
    ]
    return text + "\n## Modules\n\n" + "\n".join(["| module | |", "|---|---|", *rows]) + "\n"


def contents() -> str:
    """The tree of modules for the site's navigation."""
    lines = []
    for name in modules():
        place = Path(page_of(name)).relative_to(PLACE).as_posix()
        lines.append(f"{'    ' * name.count('.')}* [{name.rpartition('.')[2]}]({place})")
    return "\n".join(lines) + "\n"
