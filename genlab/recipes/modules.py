"""Modules found by their names in the folders that training would import them from. No import."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from genlab.recipes import plugins

ROOT = Path(__file__).parents[1]
ROOMS = (
    "methods", "losses", "networks", "augment", "optim", "data", "callbacks", "metrics",
    "evaluation", "checkpoints", "contracts", "distributed", "internals", "training.engine",
)  # fmt: skip
SILENT = (  # they refuse, fetch, report or draw
    "checkpoints.export", "checkpoints.foreign.download", "checkpoints.foreign.refusals",
    "checkpoints.foreign.report", "checkpoints.safe_read", "checkpoints.writing", "data.errors",
    "data.files.download", "data.files.workers", "evaluation.image_grids",
    "evaluation.scatter_plot", "internals.messages", "internals.wandb_parts",
    "training.engine.capture", "training.engine.failure", "training.engine.progress",
)  # fmt: skip
INSTALLED = {sysconfig.get_path(name) for name in ("purelib", "platlib")}


def stamp(file: Path) -> tuple[int, int]:
    """Time of a file's last change and its size; zeros where it is gone."""
    try:
        state = file.stat()
    except (OSError, ValueError):
        return 0, 0
    return state.st_mtime_ns, state.st_size


def text_of(file: Path) -> str:
    """A module's text; empty where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def is_own(module: str, rooms: Collection[str] = ROOMS) -> bool:
    """True for a module of genlab that decides what a training computes.

    Args:
        module: dotted name.
        rooms: parts of genlab that count.
    """
    inside = f"{module.removeprefix('genlab.')}."
    return any(inside.startswith(f"{room}.") for room in rooms) and not any(
        inside.startswith(f"{room}.") for room in SILENT
    )


class Finder:
    """Files of modules, and the files that would be modules if they were there.

    Args:
        rooms: parts of genlab that count.
    """

    def __init__(self, rooms: Collection[str] = ROOMS) -> None:
        self.files: set[Path] = set()
        self.libraries: dict[str, str] = {}
        self._rooms = rooms
        self._found: dict[str, Path | None] = {}
        self._tops: dict[str, list[Path]] = {}

    def file(self, module: str) -> Path | None:
        """The file of a module that counts; None for others.

        Args:
            module: dotted name.
        """
        if module not in self._found:
            self._found[module] = self._find(module)
        return self._found[module]

    def folders(self, top: str) -> list[Path]:
        """Folders in which a package's modules lie."""
        return [home / top for home in self._homes(top) if (home / top).is_dir()]

    def _find(self, module: str) -> Path | None:
        top, *inside = module.split(".")
        if not all(part.isidentifier() for part in (top, *inside)):
            return None
        if top == "genlab":
            homes = [ROOT.parent] if is_own(module, self._rooms) else []
            names = [ROOT.name, *inside]
        else:
            homes, names = self._homes(top), [top, *inside]
        for home in homes:
            base = home.joinpath(*names)
            for file in (base / "__init__.py", base.with_name(f"{base.name}.py")):
                self.files.add(file)
                if os.path.isfile(file):
                    return file
        return None

    def _homes(self, top: str) -> list[Path]:
        """Folders that hold a package of others', none for the standard library and installed."""
        if top not in self._tops:
            own = top in sys.stdlib_module_names or top == "genlab"
            self._tops[top] = [] if own else self._places(top)
        return self._tops[top]

    def _places(self, top: str) -> list[Path]:
        plugin = plugins.declared().get(top)
        if plugin and plugin.folder:
            return [plugin.folder.parent]
        more = plugins.places(plugin.home) if plugin else []
        found = [Path(place) for place in (*filter(None, sys.path), os.getcwd(), *more)]
        homes = [home for home in found if _holds(home, top)]
        if not homes:
            homes = _elsewhere(top)
        if homes and _is_installed(homes[0]) and self._note(top):
            return []
        return homes or [Path.cwd()]

    def _note(self, top: str) -> bool:
        """Keep the version of an installed library; False where it has none."""
        try:
            self.libraries[top] = version(top)
        except (PackageNotFoundError, ValueError):
            return False
        return True


def _holds(home: Path, top: str) -> bool:
    return os.path.isfile(home / f"{top}.py") or os.path.isdir(home / top)


def _is_installed(home: Path) -> bool:
    return str(home) in INSTALLED or home.name in ("site-packages", "dist-packages")


def _elsewhere(top: str) -> list[Path]:
    """Where hooks of editable installations find a package."""
    try:
        spec = None if top in sys.modules else importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return []
    if spec is None or not spec.origin or not os.path.isabs(spec.origin):
        return []
    file = Path(spec.origin)
    return [file.parent.parent if file.name == "__init__.py" else file.parent]
