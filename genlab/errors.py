"""Input errors: what the user can correct, in at most three lines, and the nearest valid name."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE}  # the machine's


class InputError(ValueError):
    """A wrong setting, file or argument; the message says what, where and what would work."""


class RecipeError(InputError):
    """A wrong recipe or argument, in at most three lines: what, where, the nearest valid name."""

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        super().__init__("\n".join(line for line in (what, where and f"in {where}", hint) if line))


class RunError(InputError):
    """A run directory or checkpoint that cannot be used; the message says what would work."""


class CheckpointError(InputError):
    """A checkpoint that cannot be used; the message says which, why and what would work."""


class SlurmError(RunError):
    """Slurm refused, or the launch does not fit the job; the message says what would work."""


class DiskError(OSError):
    """A full or failing disk: nobody's input; the message says what happened and what is kept."""


class DeviceError(OSError):
    """A device that this machine lacks: nobody's input; the message says what is missing."""


class NetworkError(OSError):
    """A server that does not answer: nobody's input; the message says what works without it."""


def cannot_write(target: object, error: OSError, hint: str = "") -> Exception:
    """The error to report for a file that cannot be written: the machine's or the user's.

    Args:
        target: the file or folder.
        error: the system's.
        hint: advice for the user, where it is the user's.
    """
    what = f"cannot write {target}: {reason(error)}"
    if error.errno in FAULTS:
        return DiskError(f"{what}; what was there is kept")
    return RunError("\n".join(line for line in (what, hint) if line))


def fault_of(error: BaseException | None) -> OSError | None:
    """The fault behind an error, of the machine or the network; None where there is none."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        if isinstance(error, DiskError | DeviceError | NetworkError):
            return error
        if isinstance(error, OSError) and error.errno in FAULTS:
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def told(error: OSError) -> str:
    """A fault in one line: what the system says, and of which file."""
    if isinstance(error, DiskError | DeviceError | NetworkError):
        return str(error)
    return reason(error) + (f": {error.filename}" if error.filename else "")


def reason(error: OSError) -> str:
    """The system's text of an error, without its number and file."""
    return error.strerror or first_line(error)


LONGEST = 100  # characters of a name that others are compared with


def nearest(name: object, names: Iterable[str]) -> str:
    """``did you mean X?`` for the closest of ``names``, or the list of them when none is close."""
    names = sorted(names)
    by_folded = {n.lower(): n for n in names}
    close = difflib.get_close_matches(str(name)[:LONGEST].lower(), by_folded, n=2, cutoff=0.55)
    if close:
        return f"did you mean {' or '.join(by_folded[c] for c in close)}?"
    shown = ", ".join(names[:12]) + (" ..." if len(names) > 12 else "")
    return f"there are: {shown}" if names else ""


def check_names(
    what: str, given: Iterable[object], names: Iterable[str], kind: str = "setting"
) -> None:
    """Refuse an unknown name.

    Args:
        what: owner of the names; begins the message.
        given: names given by the user.
        names: valid names.
        kind: the kind of name, such as ``mode``.

    Raises:
        ValueError: the first wrong one, and the nearest.
    """
    names = list(names)
    for name in given:
        if name not in names:
            colon = ":" in str(name)  # in YAML {a:1} is a name without a value
            hint = "missing space after ':'" if colon else nearest(name, names)
            raise ValueError(f"{what} has no {kind} {name!r}; {hint}")


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what a method or its data refuses into an input error."""
    try:
        yield
    except ValueError as error:
        raise RecipeError(str(error)) from None


def first_line(error: BaseException) -> str:
    """The first line of an error's text that is not empty, at most 200 characters of it.

    The error's type where there is none.
    """
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:200]
