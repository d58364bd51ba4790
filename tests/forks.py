"""Commands in forks of a process that has imported what they import: no start of seconds each."""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from genlab.testing import ranks

LIMIT = 500  # seconds


def run(
    words: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    said: Path,
    before: Callable[[], None] | None = None,
) -> int:
    """Run a command as ``python -m genlab`` does; returns its exit code.

    Args:
        words: those after ``genlab``.
        folder: current folder of the command.
        environment: all of its variables.
        said: folder for its standard output and error, the files ``out`` and ``err``.
        before: what the command's process does first.

    Raises:
        TimeoutError: the command takes longer than `LIMIT`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(ranks.IMPORTS))
    process = context.Process(
        target=_command, args=(list(words), folder, environment, said, before)
    )
    process.start()
    process.join(LIMIT)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f"genlab {' '.join(words)} is not done after {LIMIT} seconds")
    return process.exitcode


def _command(
    words: list[str],
    folder: Path,
    environment: dict[str, str],
    said: Path,
    before: Callable[[], None] | None,
) -> None:
    gc.freeze()  # else the first full collection copies the pages of every module
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for name, stream in (("out", sys.stdout), ("err", sys.stderr)):
        file = os.open(said / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream.fileno())
        os.close(file)
    sys.argv = ["genlab", *words]
    sys.path.insert(0, str(folder))
    if before is not None:
        before()
    try:
        runpy.run_module("genlab", run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends its processes without them
