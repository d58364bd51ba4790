"""Google docstrings taken apart: first line, prose, and sections of named entries."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from inspect import cleandoc

HEAD = re.compile(r"([A-Z][A-Za-z ]*):\s*$")
ENTRY = re.compile(r"([*\w./<>-]+(?:, [*\w./<>-]+)*)(?: \(([^()]*)\) ?)?:\s+(.*)")
BULLET = re.compile(r"- (``\w+``.*)")
NAMED = re.compile(r"``(\w+)``(?: \(([^()]*)\))?")


@dataclass(frozen=True)
class Entry:
    """A named entry of a section, such as an argument.

    Args:
        name: the name.
        note: text in parentheses after the name; empty where there is none.
        text: description, lines and indented lists as they are.
    """

    name: str
    note: str
    text: str


@dataclass(frozen=True)
class Docstring:
    """A docstring in parts.

    Args:
        first: first line, without its full stop.
        prose: paragraphs outside all sections, after the first line.
        sections: text of each section, such as ``Args``.
    """

    first: str = ""
    prose: str = ""
    sections: dict[str, str] = field(default_factory=dict)

    def entries(self, section: str) -> dict[str, Entry]:
        """Entries of a section by name; several names before one colon share a text."""
        return entries(self.sections.get(section, ""))


def parse(docstring: str) -> Docstring:
    """Take a docstring apart that is cleaned, as `ast.get_docstring` does it."""
    lines = docstring.splitlines()
    if not lines:
        return Docstring()
    prose, sections = list[str](), dict[str, list[str]]()
    inside: list[str] | None = None
    if HEAD.fullmatch(lines[0]):
        lines.insert(0, "")
    for k, line in enumerate(lines[1:], 1):
        head, below = HEAD.fullmatch(line), lines[k + 1 : k + 2]
        if head and below and below[0].startswith("    "):
            inside = sections.setdefault(head[1], [])
        elif inside is not None and (not line.strip() or line.startswith(" ")):
            inside.append(line)
        else:
            inside = None
            prose.append(line)
    found = {name: cleandoc("\n" + "\n".join(body)) for name, body in sections.items()}
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(prose).strip())
    return Docstring(lines[0].rstrip("."), text, found)


def entries(section: str) -> dict[str, Entry]:
    """Entries ``name (note): text`` of a section; deeper lines belong to the entry above."""
    found: dict[str, Entry] = {}
    names, note, body = list[str](), "", list[str]()

    def close() -> None:
        gap = "\n\n" if body[1:2] == [""] else "\n"
        below = cleandoc("\n" + "\n".join(body[1:]))
        text = gap.join(part for part in (*body[:1], below) if part)
        found.update({name: Entry(name, note, text) for name in names})

    for line in section.splitlines():
        head = ENTRY.fullmatch(line) or ENTRY.fullmatch(f"{line} ")
        if head and not line.startswith(" "):
            close()
            names, note, body = head[1].split(", "), head[2] or "", [head[3]]
        elif names:
            body.append(line)
    close()
    return found


def bullets(text: str) -> dict[str, Entry]:
    """Settings that a text lists as ``- ``name`` (default): meaning``, each by its name.

    A second one may follow in the same item after a semicolon.
    """
    found: dict[str, Entry] = {}
    for item in _items(text):
        for part in re.split(r"; (?=``\w+``(?: \([^()]*\))?: )", item):
            named, _, meaning = part.partition(": ")
            for name, note in NAMED.findall(named):
                found.setdefault(name, Entry(name, note, meaning.strip()))
    return found


def _items(text: str) -> list[str]:
    """Items of the lists in a text, each on one line."""
    items: list[list[str]] = []
    for line in text.splitlines():
        if head := BULLET.match(line.strip()):
            items.append([head[1]])
        elif items and line.startswith(" ") and line.strip():
            items[-1].append(line.strip())
    return [" ".join(item) for item in items]


def mentions(text: str, name: str) -> bool:
    """True if a text speaks of a name as code."""
    return f"``{name}``" in text


def plain(text: str) -> str:
    """Text without marks of code and of mathematics."""
    text = re.sub(r":math:`([^`]*)`", r"\1", text)
    return re.sub(r"``?([^`]*)``?", r"\1", text)
