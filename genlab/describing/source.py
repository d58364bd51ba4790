"""Definitions by name, in the source of genlab, of plugins and of installed packages."""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from genlab.describing import foreign
from genlab.recipes import class_names, plugins
from genlab.recipes.class_names import parsed

ROOT = Path(__file__).parents[1]
EXPORTS = ("genlab.losses", "genlab.metrics", "genlab.augment", "genlab.optim")
ARGUED = ("lightning.pytorch.trainer.trainer",)  # modules elsewhere whose arguments are keys
MOST_HOPS = 4  # modules that re-export a class, one from the other

Node = ast.ClassDef | ast.FunctionDef


@dataclass(frozen=True)
class Definition:
    """A class or a function at the top of a module.

    Args:
        name: its name.
        module: dotted name of the module.
        file: file of the module.
        node: syntax tree.
        line: line of the file, from 1.
    """

    name: str
    module: str
    file: Path
    node: Node
    line: int

    @property
    def path(self) -> str:
        """Dotted name, module and class."""
        return f"{self.module}.{self.name}"

    @property
    def place(self) -> str:
        """File and line as a user reads them: ``genlab/methods/simclr.py:24``."""
        parts = self.module.split(".")
        depth = len(parts) + (self.file.name == "__init__.py")
        return f"{'/'.join(self.file.parts[-depth:])}:{self.line}"

    @property
    def label(self) -> str:
        """A class's name; a function's with its package: ``optim.build``."""
        package = self.module.split(".")[1:2]
        inside = isinstance(self.node, ast.FunctionDef)
        return ".".join([*package, self.name]) if inside else self.name

    @property
    def docstring(self) -> str:
        """Its docstring, cleaned; empty where there is none."""
        given = foreign.assigned(self.name, self.module, text(self.file))
        return given or ast.get_docstring(self.node) or ""


def modules() -> dict[str, Path]:
    """Files of genlab and of declared plugins by their dotted names; genlab's come first."""
    found = dict(_modules("genlab", ROOT))
    for plugin in plugins.declared().values():
        if plugin.folder is not None:
            found |= _modules(plugin.name, plugin.folder)
    return found


@cache
def _modules(package: str, folder: Path) -> dict[str, Path]:
    found = {}
    for file in sorted(folder.rglob("*.py")):
        inside = file.relative_to(folder).with_suffix("").parts
        if inside[0] != "_share":
            parts = inside[:-1] if inside[-1] == "__init__" else inside
            found[".".join((package, *parts))] = file
    return found


def text(file: Path) -> str:
    """Text of a source file; empty where it cannot be read."""
    try:
        return _text(file, os.stat(file).st_mtime_ns)
    except OSError:
        return ""


@cache
def _text(file: Path, _: int) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def tree(file: Path) -> ast.Module:
    """Syntax tree of a source file; empty where it is not Python."""
    return _tree(text(file))


def _tree(content: str) -> ast.Module:
    try:
        return parsed(content.encode())
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def definitions(module: str, file: Path) -> list[Definition]:
    """Classes and functions at the top of a module, in order."""
    return _definitions(module, file, text(file))


@cache
def _definitions(module: str, file: Path, content: str) -> list[Definition]:
    nodes = [node for node in _tree(content).body if isinstance(node, Node)]
    return [Definition(node.name, module, file, node, node.lineno) for node in nodes]


def constant(module: str, name: str) -> dict[str, str]:
    """A mapping at the top of a module of genlab: keys, and values as they are written."""
    for node in tree(modules()[module]).body:
        named = isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name
        if named and isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict):
            pairs = zip(node.value.keys, node.value.values, strict=True)
            return {str(ast.literal_eval(key)): ast.unparse(value) for key, value in pairs if key}
    return {}


def find(name: str) -> list[Definition]:
    """Definitions of a short or dotted name, those that recipes may name first.

    A dotted name may leave ``genlab`` out and end its package early: ``optim.build``. One outside
    genlab is found in the installed package.
    """
    prefix, _, last = name.rpartition(".")
    begins = re.compile(rf"^(?:class|def) {re.escape(last)}\b", re.M)
    found = [
        one
        for module, file in modules().items()
        if _within(module, prefix) and begins.search(text(file))
        for one in definitions(module, file)
        if one.name == last
    ]
    if not found and prefix:
        far = installed(name)
        found = [far] if far else []
    return sorted(found, key=_rank) if found[1:] else found


def _within(module: str, prefix: str) -> bool:
    starts = (prefix, f"genlab.{prefix}")
    return not prefix or any(module == one or module.startswith(f"{one}.") for one in starts)


def group(one: Definition) -> str:
    """The package whose classes recipes name and that has this one; empty for any other."""
    packages = class_names.ROOTS
    return next((p for p in packages if class_names.classes(p).get(one.name) == one.path), "")


def _rank(one: Definition) -> tuple[int, bool]:
    place = [*class_names.ROOTS, ""].index(group(one))
    return place, isinstance(one.node, ast.FunctionDef)


def names() -> list[str]:
    """Names of the classes that recipes may name, and of losses, metrics and the like."""
    found = {name for package in class_names.ROOTS for name in class_names.classes(package)}
    begins = re.compile(r"^class ([A-Za-z]\w*)", re.M)
    for module, file in modules().items():
        if module.startswith(EXPORTS):
            package = text(ROOT / module.split(".")[1] / "__init__.py")
            found |= {one for one in begins.findall(text(file)) if f'    "{one}",' in package}
    return sorted(found)


def argued(name: str) -> bool:
    """True if genlab, a plugin or the trainer documents or annotates a name.

    Their text is searched: to parse all of it takes too long.
    """
    own = [*modules().values(), *filter(None, map(foreign.file_of, ARGUED))]
    used = re.compile(rf"\b{re.escape(name)}(?:, \w+)*:|``{re.escape(name)}``")
    return any(used.search(text(file)) for file in own)


def locate(path: str) -> Definition | None:
    """The definition of an exact dotted name, in genlab, a plugin or an installed package."""
    module, _, name = path.rpartition(".")
    file = _modules("genlab", ROOT).get(module) or modules().get(module)
    if file is not None:
        return next((one for one in definitions(module, file) if one.name == name), None)
    return installed(path)


def installed(path: str) -> Definition | None:
    """A class or function of an installed package; nothing is imported.

    Only its own lines are parsed: such files are long.
    """
    module, _, name = path.rpartition(".")
    if not all(part.isidentifier() for part in path.split(".")):
        return None
    return _exported(module, name, MOST_HOPS)


def _exported(module: str, name: str, hops: int) -> Definition | None:
    file = foreign.file_of(module)
    if file is None:
        return None
    content = text(file)
    if (here := _alone(module, name, file, content)) is not None:
        return here
    above = foreign.exporter(name, module, content, package=file.name == "__init__.py")
    return _exported(above, name, hops - 1) if hops and above else None


@cache
def _alone(module: str, name: str, file: Path, content: str) -> Definition | None:
    """A definition parsed by itself, without the rest of its file."""
    lines, starts = content.splitlines(), re.compile(rf"(?:class|def) {name}\b")
    first = next((k for k, line in enumerate(lines) if starts.match(line)), None)
    if first is None:
        return None
    rest = range(first + 1, len(lines))
    end = next((k for k in rest if re.match(r"[^\s#)]", lines[k])), len(lines))
    body = _tree("\n".join(lines[first:end])).body
    if not body or not isinstance(body[0], Node):
        return None
    return Definition(name, module, file, body[0], first + 1)


def imported(one: Definition, name: str) -> Definition | None:
    """The definition that a name in a module stands for: its own, or one imported by ``from``."""
    for own in definitions(one.module, one.file):
        if own.name == name:
            return own
    for node in tree(one.file).body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return locate(f"{node.module}.{alias.name}")
    return None
