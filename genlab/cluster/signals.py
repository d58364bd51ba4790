"""Slurm's warnings as a flag: SIGUSR1 before the time limit, SIGTERM at preemption and requeue.

Nothing is done inside a handler. Between `hold` and `listen` both signals wait; forked children
(loader workers), to which Slurm sends them too, never act on them.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # the later one is the stronger one
_raised: set[int] = set()
_forks_are_deaf = False
_listening = threading.Event()


def hold() -> None:
    """Keep both signals waiting from here on; those that come are not lost."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def watch(early: Callable[[int], None]) -> None:
    """Until `listen`, answer signals at once: a start may be slower than the time that is left.

    Args:
        early: what to do with a signal's number, in a thread of its own; both are held meanwhile.
    """

    def wait() -> None:
        while not _listening.is_set():
            if come := signal.sigtimedwait(SIGNALS, 0.2):
                _raised.add(come.si_signo)
                early(come.si_signo)

    hold()
    threading.Thread(target=wait, daemon=True).start()


def listen() -> None:
    """Let both signals raise the flag, those that have waited included.

    Lightning puts a handler of its own on SIGTERM, which broadcasts; this replaces it.
    """
    global _forks_are_deaf
    _listening.set()
    if not _forks_are_deaf:
        os.register_at_fork(after_in_child=hold)
        _forks_are_deaf = True
    for number in SIGNALS:
        signal.signal(number, _raise_flag)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def raised() -> int:
    """0: none; 1: SIGTERM has come; 2: SIGUSR1 has, whatever else."""
    return max((SIGNALS.index(signal.Signals(n)) + 1 for n in _raised), default=0)


def _raise_flag(number: int, frame: FrameType | None) -> None:
    _raised.add(number)
