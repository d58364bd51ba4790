"""Processes that stay: a comparison of N of them with one costs no start."""

from __future__ import annotations

import gc
import importlib
import io
import multiprocessing
import os
import pickle
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from genlab import distributed

IMPORTS = (  # once, by the process that forks; none starts a thread or reads W&B's settings
    "genlab.testing.ranks", "lightning", "timm", "torchmetrics", "torchvision",
    "torchvision.transforms.v2", "sklearn.datasets", "sklearn.model_selection", "jsonargparse",
    "matplotlib.figure", "genlab.evaluation", "genlab.training.fitting", "genlab.testing.running",
)  # fmt: skip
PATIENCE = 300.0  # seconds for one program
GRACE = 2.0  # seconds for the others once a rank has failed


class RankError(RuntimeError):
    """A program that failed on a rank; the message is that rank's traceback."""


class Ranks:
    """Long-lived processes that run programs together over gloo.

    They are forked from a server that has imported torch and Lightning once. Every program has the
    caller's path and environment of the moment; seed, default type and process group start anew.
    After a failure or a program that never ends the processes are replaced.

    Args:
        backend: ``gloo``, or ``nccl`` for a GPU each.
    """

    def __init__(self, backend: str = "gloo") -> None:
        self.backend = backend
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(IMPORTS))
        self._members: list[tuple[BaseProcess, Connection]] = []

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, function: Callable[..., Any] | str, world: int, *arguments: Any) -> list[Any]:
        """Results of ``function(rank, world, *arguments)`` on each of ``world`` ranks.

        Args:
            function: importable by its name, or ``module:name``.
            world: number of processes; 1 has no process group.
            arguments: anything that can be pickled; every rank gets copies of its own.

        Raises:
            RankError: it failed on a rank, or took too long.
        """
        if not all(process.is_alive() for process, _ in self._members):
            self.close()  # one was ended from outside since the last program
        while len(self._members) < world:
            self._start()
        with tempfile.TemporaryDirectory() as folder:
            for rank, (_, connection) in enumerate(self._members[:world]):
                meeting = (f"{folder}/rendezvous", self.backend)
                program = (function, rank, world, meeting, arguments)
                outside = list(sys.path), dict(os.environ)
                connection.send_bytes(pickle.dumps((*outside, pickle.dumps(program))))
            try:
                return self._answers(world)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """End the processes; the next `run` starts new ones."""
        for process, connection in self._members:
            connection.close()
            process.kill()
            process.join()
        self._members = []

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            process.start()
        theirs.close()
        self._members.append((process, ours))

    def _answers(self, world: int) -> list[Any]:
        answers: dict[int, Any] = {}
        failures: list[tuple[float, str]] = []  # one rank's end is an error of the others, later
        waiting = {self._members[rank][1]: rank for rank in range(world)}
        while waiting:
            ready = wait(list(waiting), GRACE if failures else PATIENCE)
            if not ready and failures:
                break
            if not ready:
                raise RankError(f"no answer of rank {min(waiting.values())} in {PATIENCE:.0f} s")
            for connection in ready:
                assert isinstance(connection, Connection)
                rank = waiting.pop(connection)
                try:
                    good, content = pickle.loads(connection.recv_bytes())
                except EOFError:
                    failures.append((0.0, f"rank {rank} of {world} ended without an answer"))
                    continue
                if not good:
                    when, text = content
                    failures.append((when, f"rank {rank} of {world}: {text}"))
                    continue
                answers[rank] = torch.load(io.BytesIO(content), weights_only=False)
        if failures:
            raise RankError(min(failures)[1])
        return [answers[rank] for rank in range(world)]


def _serve(connection: Connection) -> None:
    """Run programs until the pipe is closed."""
    gc.freeze()  # else the first full collection copies the pages of every module
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)")
    torch.multiprocessing.set_sharing_strategy("file_system")
    while True:
        try:
            job = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(pickle.dumps(_answer(job)))


def _answer(job: bytes) -> tuple[bool, Any]:
    environment, here = dict(os.environ), Path.cwd()
    try:
        sys.path[:], own, program = pickle.loads(job)
        os.environ.clear()
        os.environ.update(own)
        function, rank, world, (rendezvous, backend), arguments = pickle.loads(program)
        distributed.join(rendezvous, rank, world, backend)
        nothing = torch.zeros((), device=distributed.device())
        distributed.all_reduce_sum(nothing)  # a short program would leave others unjoined
        torch.manual_seed(0)
        content = io.BytesIO()
        torch.save(_found(function)(rank, world, *arguments), content)
    except BaseException:
        return False, (time.monotonic(), traceback.format_exc())
    finally:
        distributed.leave()
        torch.set_default_dtype(torch.float32)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(here)
    return True, content.getvalue()


def _found(function: Callable[..., Any] | str) -> Callable[..., Any]:
    if not isinstance(function, str):
        return function
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
