"""A page for every method: objective, recipes with results, images, arguments, laws, departures."""

from __future__ import annotations

import ast
import re
from functools import cache

from docs.builder import pictures, results
from docs.builder.copies import ROOT
from docs.builder.markdown import code, linked, section, table
from docs.builder.tables import arguments, logged
from genlab.describing import docstrings, metrics, source
from genlab.describing.source import Definition
from genlab.recipes import class_names

DEPARTURES = re.compile(r"\bDepartures?: ")
OBJECTIVES = ROOT / "docs" / "objectives"


@cache
def methods() -> dict[str, Definition]:
    """The class of each method's module; its name is the page's."""
    known, found = class_names.classes("methods"), {}
    for file in sorted((ROOT / "genlab" / "methods").glob("[a-z]*.py")):
        definitions = source.definitions(f"genlab.methods.{file.stem}", file)
        found[file.stem] = next(one for one in definitions if one.name in known)
    return found


def pages() -> dict[str, str]:
    """Each method's page, the index of all, and their order in the navigation."""
    found = {f"methods/{name}.md": page(name) for name in methods()}
    listed = [f"* [{one.name}]({name}.md)" for name, one in methods().items()]
    summary = "\n".join(["* [Methods](index.md)", *listed]) + "\n"
    return {**found, "methods/index.md": index(), "methods/SUMMARY.md": summary}


def index() -> str:
    """Table of all methods."""
    rows = [
        (f"[{one.name}]({name}.md)", _says(one), str(len(results.of_class(one.name))))
        for name, one in methods().items()
    ]
    return "# Methods\n\n" + table(("method", "what it is", "recipes"), rows)


def page(name: str) -> str:
    """A method's page."""
    one = methods()[name]
    about, departures = documented(one)
    names = results.of_class(one.name)
    parts = [
        f"# {one.name}\n\n{_says(one)}\n\n{linked(about)}\n\n",
        section("Objective", objective(name)),
        section("Images", images(name)),
        section("Recipes", table(results.COLUMNS, results.rows(names)) or "No recipe names it."),
        section("Arguments", arguments(one)),
        section("Metrics", logged(metrics.logged_by(one))),
        section("Laws", laws(one.name)),
        section("Departures from the paper", linked(departures) or "None."),
        section("Source", f"`{one.place}`; [reference](../reference/api/methods/{name}.md)."),
    ]
    return "".join(parts)


def _says(one: Definition) -> str:
    """The first line of a method's module, without its name."""
    first = _module(one).splitlines()[0]
    said = first.partition(": ")[2] or first
    return said[0].upper() + said[1:]


def _module(one: Definition) -> str:
    return ast.get_docstring(source.tree(one.file)) or ""


def documented(one: Definition) -> tuple[str, str]:
    """Sources of a method, and its departures from them, from its module's docstring.

    Departures end with their paragraph; "none" is an empty text.

    Raises:
        ValueError: the docstring does not say whether there are any.
    """
    text = _module(one).partition("\n")[2].strip()
    about, *departures = DEPARTURES.split(text, maxsplit=1)
    if not departures:
        raise ValueError(f"{one.place}: the module's docstring has no line of departures")
    said, _, rest = departures[0].partition("\n\n")
    about = "\n\n".join(part.strip() for part in (about, rest) if part.strip())
    return about, "" if said.lower().startswith("none") else said.strip()


def objective(name: str) -> str:
    """Formulas of a method, written by hand."""
    file = OBJECTIVES / f"{name}.md"
    return file.read_text() if file.is_file() else ""


def images(name: str) -> str:
    """Images of a method's recipes."""
    found = [one for one in pictures.DRAWINGS if one.page == name and one.target.is_file()]
    if not found:
        return ""
    return '<div class="strip">\n' + "\n".join(map(_figure, found)) + "\n</div>"


def _figure(one: pictures.Drawing) -> str:
    place = one.target.relative_to(ROOT / "docs").as_posix()
    return (
        f'<figure><img src="../../{place}" alt="{one.caption}" loading="lazy">'
        f"<figcaption><code>{one.recipe}</code>: {one.caption}</figcaption></figure>"
    )


@cache
def all_laws() -> dict[str, str]:
    """First line of each law's docstring."""
    from genlab.testing import LAWS

    return {name: docstrings.parse(law.__doc__ or "").first for name, law in LAWS.items()}


def laws(name: str) -> str:
    """The laws that a method obeys, and why one does not apply."""
    excused = exceptions(name)
    rows = [
        (code(law), says, f"does not apply: {excused[law]}" if law in excused else "obeyed")
        for law, says in all_laws().items()
    ]
    said = (
        "`genlab laws RECIPE` tries each on a tiny form of the recipe; the tests do so for all.\n\n"
    )
    return said + table(("law", "statement", ""), rows)


def exceptions(name: str) -> dict[str, str]:
    """Laws that do not apply to a method, each with the reason."""
    from genlab import methods as built
    from genlab.testing.exceptions import EXCEPTIONS

    return EXCEPTIONS.get(name, {}) | getattr(getattr(built, name), "law_exceptions", {})
