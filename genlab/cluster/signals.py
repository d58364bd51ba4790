"""Signals as a flag: SIGTERM, Slurm's SIGUSR1 before the time limit, Ctrl-C outside Slurm.

Nothing is done inside a handler, except that a second Ctrl-C interrupts immediately. Between `hold`
and `listen` the first two wait; forked children (loader workers), to which Slurm sends them too,
never act on them, and are killed at exit, since multiprocessing's own SIGTERM does not end them.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
STRENGTH = (*SIGNALS, signal.SIGINT)  # the later one is the stronger one
_raised: set[int] = set()
_forks_are_deaf = False
_heard = False  # signals go to this process's training
_listening = threading.Event()
_watcher: threading.Thread | None = None
_ears: list[int] = []  # a pipe into which Python's own handler writes the numbers of signals


def hold() -> None:
    """Keep both signals waiting from here on; those that come are not lost."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def watch(early: Callable[[int], None]) -> None:
    """Until `listen`, answer signals immediately: a start may take longer than the time left.

    Args:
        early: action on a signal's number, in a separate thread; both signals are held meanwhile.
    """

    def wait() -> None:
        while not _listening.is_set():
            if come := signal.sigtimedwait(SIGNALS, 0.2):
                _raised.add(come.si_signo)
                early(come.si_signo)

    global _watcher
    hold()
    _watcher = threading.Thread(target=wait, daemon=True)
    _watcher.start()


def listen(interrupts: bool = False, at_once: Callable[[int], None] | None = None) -> None:
    """Let both signals raise the flag, those that have waited included.

    Lightning puts a handler of its own on SIGTERM, which broadcasts; this replaces it. Nothing
    happens outside the main thread, where Python allows no handlers.

    Args:
        interrupts: Ctrl-C too.
        at_once: called with each signal's number from another thread, whatever the main one is
            stuck in; of several calls of `listen`, the first one's counts.
    """
    global _forks_are_deaf, _heard
    if threading.current_thread() is not threading.main_thread():
        return
    _listening.set()
    _heard = True
    if _watcher is not None:
        _watcher.join()  # else it takes a signal that is meant for training
    if at_once is not None and not _ears:
        _tell(at_once)
    if not _forks_are_deaf:
        os.register_at_fork(after_in_child=_deafen)
        atexit.register(_kill_workers)  # runs before multiprocessing's own, which would wait
        _forks_are_deaf = True
    for number in STRENGTH if interrupts else SIGNALS:
        signal.signal(number, _raise_flag)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _tell(at_once: Callable[[int], None]) -> None:
    """Handlers run in the main thread and wait for its collective; this pipe does not."""
    _ears.extend(os.pipe())
    os.set_blocking(_ears[1], False)
    signal.set_wakeup_fd(_ears[1], warn_on_full_buffer=False)

    def hear() -> None:
        while numbers := os.read(_ears[0], 16):
            for number in numbers:
                at_once(number)

    threading.Thread(target=hear, daemon=True).start()


def _deafen() -> None:
    """In a forked child, as long as its parent trains."""
    if _heard:
        hold()


def let_go() -> None:
    """Python's own handlers again, and no flag: for a process that goes on after training."""
    global _heard
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    _raised.clear()
    _heard = False


def raised() -> int:
    """0: none; 1: SIGTERM has come; 2: SIGUSR1 has, 3: Ctrl-C, whatever else."""
    return max((STRENGTH.index(signal.Signals(n)) + 1 for n in _raised), default=0)


def _kill_workers() -> None:
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


def _raise_flag(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT and number in _raised:
        raise KeyboardInterrupt
    _raised.add(number)
