"""Results of many trainings in one folder, with a lock for processes that share the work."""

from __future__ import annotations

import fcntl
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from genlab import recipes, runs
from genlab.errors import cannot_write
from genlab.experiments import page_results
from genlab.experiments.trials import Trial


class Named(Protocol):
    """An owner of files in a folder."""

    @property
    def name(self) -> str:
        """Its name, and its run's id."""


class Cell(Named, Protocol):
    """One training and its results."""

    @property
    def seed(self) -> int:
        """Seed of the run."""

    @property
    def words(self) -> list[str]:
        """``key=value`` settings of its own."""

    @property
    def trained(self) -> bool:
        """True if there is anything to train."""


class CellFiles(ABC):
    """Files of cells in one folder: a JSON file of results each, with a lock and a log.

    Args:
        folder: folder of the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def all(self) -> Sequence[Any]:
        """Every cell that can be named now."""

    def file(self, cell: Named, ending: str = "json") -> Path:
        """A cell's file of results, lock or log."""
        return self.folder / f"{cell.name}.{ending}"

    def forget_failed(self) -> None:
        """Let failed cells be tried again; one that diverged has not failed."""
        for cell in self.all():
            if "failed" in runs.read_json(self.file(cell)):
                self.file(cell).unlink()

    def held(self, cell: Named) -> AbstractContextManager[bool]:
        """Hold a cell for this process; False where another one works on it."""
        return held(self.file(cell, "lock"))


class CellFolder(CellFiles):
    """Cells and their results, measured in one way.

    Args:
        folder: folder of the files.
        stamp: facts of how cells are measured; results with others count for nothing.
        known: file of results that stands next to a page; None for those of the folder alone.
    """

    def __init__(self, folder: Path, stamp: Mapping[str, str], known: Path | None) -> None:
        super().__init__(folder)
        self.stamp, self.known_file = dict(stamp), known

    @abstractmethod
    def trial(self, cell: Any) -> Trial:
        """A cell's training."""

    @abstractmethod
    def measure(self, cell: Any, run: Path) -> dict[str, Any]:
        """Results of a cell whose run has ended."""

    def here(self, cell: Any) -> bool:
        """True if a cell can be trained and measured on this machine."""
        return True

    def waits(self, cell: Any) -> bool:
        """True if another cell must end before this one."""
        return False

    def lost(self, cell: Any) -> str:
        """Reason why a cell cannot be trained, such as a failure before it; empty if it can."""
        return ""

    def figures(self, cell: Cell) -> dict[str, Any]:
        """Results measured as here; ``failed`` with the reason where there are none."""
        for found in (runs.read_json(self.file(cell)), self._published.get(cell.name, {})):
            if found and self.stamp.items() <= found.items():
                return page_results.short(found)  # as next to a page: it is the same page again
        return {}

    @cached_property
    def _published(self) -> Mapping[str, dict[str, Any]]:
        """Results next to the table's page."""
        return {} if self.known_file is None else page_results.read(self.known_file)

    def ended(self, cell: Cell) -> bool:
        """True if a cell is measured, or has failed."""
        return bool(self.figures(cell))

    def keep(self, cell: Cell, figures: Mapping[str, Any]) -> None:
        """Write a cell's results."""
        words = recipes.without_credentials(cell.words)
        facts = {"seed": cell.seed, "settings": words, **self.stamp}
        runs.write_json(self.file(cell), facts | dict(figures))


@contextmanager
def held(lock: Path) -> Iterator[bool]:
    """Hold a lock for this process; False where another one has it.

    Args:
        lock: its file, made where it is missing.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise cannot_write(lock.parent, error) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
