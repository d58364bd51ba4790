"""Definitions that classes use, found in the source without running it.

From a class its bases, the functions and constants that it uses, and theirs, wherever they are
defined: a neighbour that nothing uses is nobody's. Of genlab the modules of `modules.ROOMS` count,
of others every module that no package manager has installed; installed ones by their version.

What cannot be followed counts whole: a module that is used by itself, as in ``getattr(module, x)``,
or is not Python; the package of code that imports by computed names; the files next to code that
asks for ``__file__``. Of every module that is imported on the way the statements count that do more
than define. Not seen: definitions that others hand over as objects, and what a base class does with
its subclasses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from genlab.recipes.modules import ROOMS, ROOT, Finder, stamp, text_of
from genlab.recipes.outlines import DYNAMIC, Import, Outline, outline

__all__ = ["ROOMS", "ROOT", "Closure", "stamp"]
ALL = "*"
MOST_FILES = 500  # of a package that counts whole, and of files next to a module
MOST_BYTES = 2**26  # of such a file


class Closure:
    """Definitions that classes use, directly or not.

    Args:
        classes: dotted names of classes or functions.
        rooms: parts of genlab that count.
        without: dotted names of definitions that are not followed.
    """

    def __init__(
        self,
        classes: Iterable[str],
        rooms: Collection[str] = ROOMS,
        without: Collection[str] = (),
    ) -> None:
        self._finder, self._without = Finder(rooms), without
        self._counted: dict[str, set[int]] = {}
        self._bindings: dict[str, set[str]] = {}
        self._outlines: dict[str, Outline | None] = {}
        self._beside: dict[Path, str] = {}
        self._entered, self._asked = set[str](), set[tuple[str, str]]()
        self._waiting: list[tuple[str, str]] = []
        for name in sorted(classes):
            module, _, last = name.rpartition(".")
            self._ask(module, last)
        while self._waiting:
            self._follow(*self._waiting.pop())

    @property
    def digests(self) -> dict[str, str]:
        """Digests of what counts of modules, of files next to them, and versions of libraries."""
        found = {name: self._digest(name) for name in self.modules}
        found |= {f"{file.name} of {file.parent.name}": d for file, d in self._beside.items()}
        return found | {f"{name} is": text for name, text in self._finder.libraries.items()}

    @property
    def modules(self) -> list[str]:
        """Dotted names of the modules of which something counts."""
        whole = {name for name in self._entered if (one := self._outline(name)) and one.whole}
        return sorted({name for name, units in self._counted.items() if units} | whole)

    @property
    def files(self) -> set[Path]:
        """Files that were read, and those that would have been if they were there."""
        return self._finder.files | self._beside.keys()

    def definitions(self, module: str) -> set[str]:
        """Names of a module's definitions that count.

        Args:
            module: dotted name.
        """
        found = self._outline(module)
        units = self._counted.get(module, set())
        return {name for k in units for name in found.units[k].binds} if found else set()

    def _digest(self, module: str) -> str:
        found = self._outline(module)
        assert found is not None
        parts = [found.units[k].digest for k in sorted(self._counted.get(module, ()))]
        parts += [found.whole, *sorted(self._bindings.get(module, ()))]
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()

    def _outline(self, module: str) -> Outline | None:
        """A module's outline; None for a module that does not count."""
        if module not in self._outlines:
            file = self._finder.file(module)
            self._outlines[module] = outline(module, file, *stamp(file)) if file else None
        return self._outlines[module]

    def _ask(self, module: str, name: str) -> None:
        """Follow a name of a module later; ``*`` is all of it, the empty one its import alone."""
        if (module, name) not in self._asked and f"{module}.{name}" not in self._without:
            self._asked.add((module, name))
            self._waiting.append((module, name))

    def _follow(self, module: str, name: str) -> None:
        """Count what a name of a module means."""
        found = self._outline(module)
        if found is None:
            return
        self._enter(module, found)
        if name == ALL:
            self._all(module, found)
        elif name and self._binds(module, name):
            for k, unit in enumerate(found.units):
                if name in unit.binds:
                    self._count(module, k)
            for one in found.imports.get(name, []):
                self._bound(module, one)
                self._chain(module, name)
        elif name:
            self._unbound(module, found, name)

    def _unbound(self, module: str, found: Outline, name: str) -> None:
        """Follow a name that no statement of a module makes."""
        if self._finder.file(f"{module}.{name}"):
            self._ask(f"{module}.{name}", ALL)
        elif stars := found.imports.get(ALL, []):
            for one in stars:
                self._ask(one.module, name)
        elif home := self._of_a_face(module, name):
            self._ask(home, name)
        elif not name.startswith("__"):
            self._all(module, found)

    def _of_a_face(self, module: str, name: str) -> str:
        """The module of a class that a package reads off its files, see `genlab.faces`."""
        file = self._finder.file(module)
        if file is None or file.name != "__init__.py" or not self._binds(module, "__getattr__"):
            return ""
        for other in sorted(file.parent.glob("[a-z]*.py")):
            if f"class {name}" in text_of(other):
                inner = f"{module}.{other.stem}"
                if self._binds(inner, name):
                    return inner
        return ""

    def _binds(self, module: str, name: str) -> bool:
        """True if a statement at the top of a module makes a name."""
        found = self._outline(module)
        if found is None or not name:
            return False
        return name in found.imports or any(name in unit.binds for unit in found.units)

    def _enter(self, module: str, found: Outline) -> None:
        """Count what happens when a module is imported; genlab's do nothing then."""
        if module in self._entered:
            return
        self._entered.add(module)
        if _is_genlab(module):
            return
        for k, unit in enumerate(found.units):
            if unit.acts:
                self._count(module, k)
        parts = module.split(".")
        for end in range(1, len(parts)):
            self._ask(".".join(parts[:end]), "")
        for one in (one for listed in found.imports.values() for one in listed if one.at_once):
            self._ask(one.module, "")
            if one.name not in ("", ALL):
                self._ask(f"{one.module}.{one.name}", "")

    def _all(self, module: str, found: Outline) -> None:
        """Count a whole module, and what it hands on."""
        for k in range(len(found.units)):
            self._count(module, k)
        for one in (one for listed in found.imports.values() for one in listed):
            if one.name == ALL:
                self._ask(one.module, ALL)
            elif one.name and one.here:
                self._bound(module, one)
                self._chain(module, one.here)

    def _bound(self, module: str, one: Import) -> None:
        """Note what a name of a module stands for."""
        self._bindings.setdefault(module, set()).add(f"{one.here} is {one.module} {one.name}")

    def _count(self, module: str, number: int) -> None:
        """Count a statement, and all that it uses."""
        units = self._counted.setdefault(module, set())
        found = self._outline(module)
        if number in units or found is None:
            return
        unit = found.units[number]
        units.add(number)
        names = {part for name in unit.uses for part in name.split(".")}
        for name in sorted(unit.uses):
            for one in found.imports.get(name.partition(".")[0], []):
                self._bound(module, one)
                names.add(one.name)
            self._chain(module, name)
        if "globals" in names:
            self._ask(module, ALL)
        if DYNAMIC & names and not _is_genlab(module):
            self._package(module, unit.texts)
        self._files_beside(module, "__file__" in names, unit.texts)

    def _chain(self, module: str, dotted: str) -> None:
        """Follow a dotted name as a module's code means it."""
        found = self._outline(module)
        root, *rest = dotted.split(".")
        if found is None:
            return
        if any(root in unit.binds for unit in found.units):
            self._ask(module, root)
        for one in found.imports.get(root, []):
            if _is_genlab(module) and not _is_genlab(one.module):
                continue  # of torch and timm the versions count
            inner = f"{one.module}.{one.name}"
            if not one.name:
                self._through(one.module, rest)
            elif not self._binds(one.module, one.name) and self._finder.file(inner):
                self._through(inner, rest)
            else:
                self._ask(one.module, one.name)
        if root not in found.imports:
            for one in found.imports.get(ALL, []):
                if self._binds(one.module, root):
                    self._ask(one.module, root)

    def _through(self, module: str, rest: list[str]) -> None:
        """Follow a dotted name from a module on."""
        if not rest:
            self._ask(module, ALL)
        elif not self._binds(module, rest[0]) and self._finder.file(f"{module}.{rest[0]}"):
            self._ask(module, "")
            self._through(f"{module}.{rest[0]}", rest[1:])
        else:
            self._ask(module, rest[0])

    def _package(self, module: str, texts: Iterable[str]) -> None:
        """Count the whole package of code that imports by names that it computes."""
        top = module.partition(".")[0]
        for text in texts:
            level = len(text) - len(text.lstrip("."))
            name = f"{'.'.join(module.split('.')[:-level])}{text[level - 1 :]}" if level else text
            self._ask(name, ALL)
        for folder in self._finder.folders(top):
            for file in sorted(folder.rglob("*.py"))[:MOST_FILES]:
                inside = file.relative_to(folder).with_suffix("").parts
                parts = inside[:-1] if inside[-1] == "__init__" else inside
                self._ask(".".join([top, *parts]), ALL)

    def _files_beside(self, module: str, every: bool, texts: Iterable[str]) -> None:
        """Count files next to a module that it names, or all where it asks for its place."""
        home = self._finder.file(module)
        assert home is not None
        if every:
            found = [file for file in home.parent.iterdir() if file.suffix not in (".py", ".pyc")]
        else:
            names = [text for text in texts if "." in text and len(text) < 100 and "\0" not in text]
            found = [home.parent / text for text in names if not text.endswith(".py")]
        for file in sorted(found)[:MOST_FILES]:
            with suppress(OSError):  # nothing that this process may read
                if file.is_file() and file.stat().st_size <= MOST_BYTES:
                    self._beside[file] = hashlib.sha256(file.read_bytes()).hexdigest()


def _is_genlab(module: str) -> bool:
    return module.partition(".")[0] == "genlab"
