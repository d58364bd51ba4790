"""Run subprocesses, a few at a time; signals are forwarded to all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from genlab.runs import RUN_VARIABLE

POLL_SECONDS = 0.2
REFUSED = 2  # the exit code of wrong input


@dataclass
class Task:
    """A command to run.

    Args:
        title: line printed when it starts.
        command: command and arguments.
        environment: variables on top of this process's.
        log: file for its standard error; None shows it.
    """

    title: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    log: Path | None = None

    def start(self, gpu: str | None) -> subprocess.Popen[bytes]:
        """The process, in a session of its own: signals come from `run_all` alone."""
        environment = {k: v for k, v in os.environ.items() if k != RUN_VARIABLE} | self.environment
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        error = self.log.open("ab") if self.log else None
        try:
            return subprocess.Popen(
                self.command,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=error,
                start_new_session=True,
            )
        finally:
            if error:
                error.close()


def run_all(tasks: Sequence[Task], parallel: int = 1) -> list[int]:
    """Run tasks, ``parallel`` at a time, and return the exit codes of those that were started.

    After a signal (interrupt, terminate, hang-up) nothing new starts, the running ones get the
    same signal, and are waited for. When the very first task is refused, nothing else is tried.
    With several at a time and several GPUs, each has one of them.
    """
    codes: dict[int, int] = {}
    live: dict[int, tuple[int, subprocess.Popen[bytes]]] = {}  # slot -> task, process
    gpus, next_task, stopped, sent = visible_gpus() if parallel > 1 else [], 0, False, 0
    with _signals() as signals:
        while live or (next_task < len(tasks) and not stopped):
            for slot in range(parallel):
                if slot in live or next_task == len(tasks) or stopped:
                    continue
                task = tasks[next_task]
                print(f"{next_task + 1} of {len(tasks)}: {task.title}", file=sys.stderr, flush=True)
                live[slot] = next_task, task.start(gpus[slot % len(gpus)] if gpus else None)
                next_task += 1
            time.sleep(POLL_SECONDS)
            while sent < len(signals):  # here, where every process that was started is in `live`
                for _, process in live.values():
                    process.send_signal(signals[sent])
                sent += 1
            for slot, (number, process) in list(live.items()):
                if process.poll() is not None:
                    codes[number] = process.returncode
                    del live[slot]
                    stopped |= number == 0 and process.returncode == REFUSED
            stopped |= bool(signals)
    done = [codes[number] for number in sorted(codes)]
    return [*done, -signals[0]] if signals else done


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Numbers of the signals that this process is sent, in place of their handlers."""
    came: list[int] = []
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    old = {name: signal.signal(name, lambda number, _: came.append(number)) for name in names}
    try:
        yield came
    finally:
        for name, handler in old.items():
            signal.signal(name, handler)


def visible_gpus() -> list[str]:
    """The GPUs of this process, as CUDA_VISIBLE_DEVICES names them; empty unless several."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        import torch

        named = ",".join(str(k) for k in range(torch.cuda.device_count()))
    names = [name for name in named.split(",") if name]
    return names if len(names) > 1 else []
