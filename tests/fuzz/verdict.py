"""A command tried in this process, and what is wrong with how it ended."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import lightning as L

from genlab.cli import main

SECONDS = 20
MOST_LINES, MOST_LETTERS = 3, 1500


class TooLong(BaseException):
    """A command that does not end."""


class Started(BaseException):
    """A command that would start another process: its words were right as far as it knew."""


@dataclass
class Verdict:
    """How a command ended.

    Args:
        fault: what is wrong with that; empty if nothing.
        code: exit code.
        error: standard error, or the traceback.
    """

    fault: str
    code: int
    error: str


def judge(words: list[str], folder: Path) -> Verdict:
    """Run a command in ``folder``, its training cut to two steps.

    Args:
        words: those after ``genlab``.
        folder: current folder; it is compared with what it was where the command is refused.
    """
    before, start, said = listing(folder), time.monotonic(), io.StringIO()
    wrong, code = "", 0
    streams = contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO())
    cut = _cut_short() if words[0] != "bench" else contextlib.nullcontext()
    with _limited(), cut, streams[0], streams[1]:
        try:
            main(words)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except Started:
            pass
        except TooLong:
            wrong = f"takes longer than {SECONDS} s"
        except BaseException as error:
            wrong = f"traceback: {type(error).__name__}: {place_of(error)}"
            traceback.print_exc(file=said)
    text = said.getvalue()
    if not wrong and code == 2:
        wrong = _refusal(text, before, listing(folder))
    elif not wrong and code not in (0, 130) and not _declared(text):
        wrong = f"exit code {code}"
    if not wrong and time.monotonic() - start > SECONDS:
        wrong = f"takes longer than {SECONDS} s"
    return Verdict(wrong, code, text)


def place_of(error: BaseException) -> str:
    """The last frames of genlab's and the very last, to tell causes apart."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/genlab/" in f.filename][-1:]
    shown = [f"{Path(f.filename).name}:{f.lineno}" for f in (*own, frames[-1])]
    return " > ".join(dict.fromkeys(shown))


def _refusal(text: str, before: set[Any], after: set[Any]) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > MOST_LINES:
        return f"{len(lines)} lines of refusal"
    if not lines or len(text) > MOST_LETTERS:
        return f"a refusal of {len(text)} letters"
    if before != after:
        changed = sorted({str(one[0]) for one in before ^ after})
        return f"written although refused: {', '.join(changed[:3])}"
    return ""


def _declared(text: str) -> bool:
    """Whether a machine's fault or a loss that is not finite is told in words."""
    return "stopped after step" in text or "not finite" in text


def listing(folder: Path) -> set[Any]:
    """Everything below a folder: path, size, time of change."""
    found = set()
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            facts = path.lstat()
            size = (facts.st_size, facts.st_mtime_ns) if os.path.isfile(path) else ()
            found.add((path.relative_to(folder), *size))
    return found


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise TooLong

    old = signal.signal(signal.SIGALRM, ring)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    signal.alarm(SECONDS)
    environment, path = dict(os.environ), list(sys.path)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:] = path


@contextlib.contextmanager
def _cut_short() -> Iterator[None]:
    """Two steps and a batch of each measurement; no process of genlab's own is started."""
    fit, start = L.Trainer.fit, subprocess.Popen.__init__

    def shortly(trainer: Any, *given: Any, **more: Any) -> Any:
        loop = trainer.fit_loop.epoch_loop
        if not 0 <= loop.max_steps <= 2:
            loop.max_steps = trainer.global_step + 2
        for name in ("limit_val_batches", "limit_test_batches"):
            if getattr(trainer, name):
                setattr(trainer, name, 1)
        return fit(trainer, *given, **more)

    def guarded(process: Any, command: Any, *given: Any, **more: Any) -> None:
        if sys.executable in command:
            raise Started
        start(process, command, *given, **more)

    cut = mock.patch.object(L.Trainer, "fit", shortly)
    with cut, mock.patch.object(subprocess.Popen, "__init__", guarded):
        yield
