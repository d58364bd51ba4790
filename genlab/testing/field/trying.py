"""All checks of a field report, each tried by itself: one that breaks hides no other."""

from __future__ import annotations

import io
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass

from genlab.testing.field import encoding, going_on, memory, sights, speed, steps, together
from genlab.testing.field.measurement import BAD, ERROR, MEASURED, OK, SKIPPED, Measurement
from genlab.testing.field.place import Place
from genlab.testing.ranks import RankError

Try = Callable[[Place, str], Iterable[Measurement]]


@dataclass(frozen=True)
class Check:
    """A check, of one subject after the other.

    Args:
        name: short name.
        tries: makes measurements of (place, subject).
        subjects: names of all subjects.
    """

    name: str
    tries: Try
    subjects: Sequence[str]

    @property
    def about(self) -> str:
        """The line that says what it shows."""
        return str(self.tries.__doc__).partition("\n")[0]


@dataclass(frozen=True)
class Result:
    """Measurements of one check of one subject.

    Args:
        check: its name.
        subject: the subject.
        measurements: all that was found.
        seconds: duration.
    """

    check: str
    subject: str
    measurements: tuple[Measurement, ...]
    seconds: float

    @property
    def bad(self) -> bool:
        """True if a measurement is."""
        return any(measurement.bad for measurement in self.measurements)

    @property
    def verdict(self) -> str:
        """The worst verdict of all measurements, else ``ok`` if one is."""
        found = {measurement.verdict for measurement in self.measurements}
        return next(v for v in (*BAD, OK, MEASURED, SKIPPED) if v in found or v == SKIPPED)


def checks() -> dict[str, Check]:
    """All checks by name, in the order of a report."""
    kinds = steps.kinds()
    found = (
        Check("parity", steps.parity, kinds),
        Check("half", steps.half, kinds),
        Check("waits", steps.waits, kinds),
        Check("resume", going_on.resume, kinds),
        Check("ranks", together.ranks, kinds),
        Check("sync", together.sync, tuple(together.NORMS)),
        Check("views", sights.views, sights.SUBJECTS),
        Check("encoders", encoding.encoders, encoding.SUBJECTS),
        Check("memory", memory.memory, tuple(memory.LARGE)),
        Check("speed", speed.speed, tuple(speed.LOADS)),
        Check("scaling", speed.scaling, tuple(speed.LOADS)),
    )
    return {check.name: check for check in found}


def tasks(only: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Pairs of check and subject; checks of one subject follow each other.

    Args:
        only: names of checks; all if empty.
    """
    pairs = [
        (check.name, subject)
        for check in checks().values()
        if not only or check.name in only
        for subject in check.subjects
    ]
    subjects = list(dict.fromkeys(subject for _, subject in pairs))
    return sorted(pairs, key=lambda pair: subjects.index(pair[1]))


def tried(place: Place, check: str, subject: str) -> Result:
    """One check of one subject; an error of its own is a measurement that quotes it."""
    measurements, start = list[Measurement](), time.perf_counter()
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            measurements.extend(checks()[check].tries(place, subject))
    except Exception as error:
        measurements.append(Measurement(subject, ERROR, note=_told(error)))
    place.release()
    return Result(check, subject, tuple(measurements), time.perf_counter() - start)


def _told(error: Exception) -> str:
    """An error in a line, and the function that raised it; a rank's is in its last line."""
    if isinstance(error, RankError):
        return str(error).strip().splitlines()[-1]
    where = traceback.extract_tb(error.__traceback__)[-1]
    said = f"{type(error).__name__}: {error}".strip().splitlines()
    return f"{said[0]} ({where.name})"


def run(place: Place, only: Sequence[str] = ()) -> Iterator[Result]:
    """Every check of every subject."""
    for check, subject in tasks(only):
        yield tried(place, check, subject)
