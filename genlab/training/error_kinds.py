"""Kinds of errors in training: a refusal, lost data, or neither."""

from __future__ import annotations

import enum
import traceback
from pathlib import Path

import genlab
from genlab.errors import fault_of
from genlab.internals import lightning_parts


class Kind(enum.Enum):
    """Kinds of errors, by what they are to the user."""

    OTHER = enum.auto()  # a fault of the machine, see `faults`, or a bug: it keeps its traceback
    UNFIT = enum.auto()  # a callback that does not suit the method
    LOST = enum.auto()  # data that cannot be read any more
    REFUSED = enum.auto()  # a setting that genlab or Lightning refuses


def kind_of(error: Exception, run: Path, late: bool) -> Kind:
    """The kind of an error in training.

    Args:
        error: exception that was raised.
        run: the run directory.
        late: True if a checkpoint has been written.
    """
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    from genlab.data.errors import BrokenDataError

    if fault_of(error) is not None or not run.is_dir():
        return Kind.OTHER
    if unfit(error) is not None:
        return Kind.UNFIT
    if late and isinstance(error, OSError | BrokenDataError):
        return Kind.LOST
    if isinstance(error, ValueError | RuntimeError | OSError | MisconfigurationException):
        last = traceback.extract_tb(error.__traceback__)[-1].filename
        if _is_ours(last) and (not late or "early_stopping" in last):
            return Kind.REFUSED
    return Kind.OTHER


def _is_ours(file: str) -> bool:
    """True if a file of code is genlab's or Lightning's."""
    import lightning

    homes = [Path(str(module.__file__)).parent for module in (genlab, lightning)]
    return any(Path(file).is_relative_to(home) for home in homes)


def unfit(error: Exception) -> str | None:
    """The callback of genlab's or Lightning's that does not suit the method: it cannot begin."""
    found = lightning_parts.hook_of_callback(error)
    if found is None or found[0] not in ("setup", "on_fit_start", "on_train_start"):
        return None
    kind = type(found[1])
    named = kind.__module__.startswith(("genlab.callbacks.", "lightning.pytorch.callbacks."))
    return kind.__name__ if named and not isinstance(error, ValueError) else None
