"""The other processes of a training: which of them has ended, and of what."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import lightning as L

from genlab import distributed, process, runs
from genlab.errors import RunError, first_line
from genlab.internals import lightning_launch, messages

GRACE = 5.0  # seconds in which every rank that lives tells that it has lost another
GOING = 5.0  # seconds in which the others end by themselves; a hanging one is killed
HANGING = 20.0  # seconds for a collective to fail after a process of this machine has ended
LATE = 15.0  # seconds after which a start says that it waits for others
_TAKEN: list[TextIO] = []  # locks
FINISHED = "finished"
LOST = "lost another: "  # and the numbers of those that are gone


@dataclass(frozen=True)
class Lost:
    """The end of another rank, which has ended this one's training.

    Attributes:
        rank: number of the process; None if nobody knows which it was.
        what: a line that names it and says how it ended.
        failed: it was an error of the program's, not its process's end.
    """

    rank: int | None
    what: str
    failed: bool = False

    def __str__(self) -> str:
        return self.what


class Peers(L.Callback):
    """Names the rank whose end has ended a training of several processes.

    A collective fails on its neighbours when a rank ends, and on theirs when those leave. Each
    writes into the store of the process group what has ended it: its own error, or that it has
    lost another, with the ranks of its machine whose processes are gone. All but rank zero then
    leave; it waits until it knows, at most `GRACE` seconds. If the store is gone, rank zero is.

    Attributes:
        lost: the end of another rank; None as long as none is known.
        hanging: called with it where this process itself hangs, in a thread of its own.
    """

    def __init__(self) -> None:
        self.lost: Lost | None = None
        self.hanging: Callable[[Lost], None] = lambda lost: None
        self._places: list[tuple[str, str, int]] = []  # machine, its part, process; of every rank
        self._codes: dict[int, int] = {}  # of ended processes that this one has started
        self._met, self._noticed = threading.Event(), threading.Event()
        self._finished = threading.Event()

    def await_all(self, trainer: L.Trainer) -> None:
        """Wait for all processes to start and meet; a line says so where one is late."""
        if getattr(trainer, "world_size", 1) == 1:
            return
        others, seconds = trainer.world_size - 1, distributed_timeout(trainer)
        limit = f", at most {seconds:,.0f} s" if seconds else ""
        text = f"waiting for {others} other process{'es' * (others > 1)}{limit}"

        def wait() -> None:
            if not self._met.wait(LATE):
                process.note(text)

        threading.Thread(target=wait, daemon=True).start()
        lightning_launch.watch_children(trainer, lambda r, code: self._ended(trainer, r, code))

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Learn the names of all ranks' machines."""
        self._met.set()
        if trainer.world_size > 1 and not self._places:
            here = socket.gethostname(), _processes(), os.getpid()
            self._places = distributed.gather_objects(here)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Tell the others, or ask who has ended."""
        self._met.set()
        self._noticed.set()
        if trainer.world_size == 1:
            return
        how = messages.lost_peer(exception)
        if how == "absent":
            limit = distributed_timeout(trainer)
            self.lost = Lost(None, f"not all processes have started within {limit:,.0f} s")
            return
        if how and not _keeper_answers():
            self.lost = Lost(0, self._named(trainer, 0, _ended_how(None)))
            return
        mine = f"{type(exception).__name__}: {first_line(exception)}"
        gone = self._gone()
        try:
            text = LOST + ",".join(map(str, gone)) if how else mine
            distributed.tell(_key(trainer.global_rank), text)
            if how and trainer.global_rank and 0 not in gone:
                self.lost = Lost(None, "another rank has ended")  # rank zero tells which
            elif how:
                self.lost = self._ask(trainer, how)
        except RuntimeError:  # the store is gone, and with it its process
            self.lost = Lost(0, self._named(trainer, 0, _ended_how(None))) if how else None
        except ValueError:  # no process group yet
            said = "has ended before all had met"
            self.lost = Lost(0, self._named(trainer, 0, said)) if how else None

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.finish(trainer)

    def finish(self, trainer: L.Trainer) -> None:
        """Tell that no collective follows: what ends another process now ends no training."""
        self._finished.set()
        if trainer.world_size > 1:
            with suppress(RuntimeError, ValueError):  # the others are gone already
                distributed.tell(_done(trainer.global_rank), FINISHED)

    def _ask(self, trainer: L.Trainer, how: str) -> Lost:
        """The rank that has ended, by what the others tell."""
        end, ranks = time.monotonic() + GRACE, range(trainer.world_size)
        while True:
            ends = {rank: distributed.told(_key(rank)) for rank in ranks}
            for rank, text in ends.items():
                if text is not None and not text.startswith(LOST):
                    return Lost(rank, self._named(trainer, rank, f"has failed: {text}"), True)
            gone = {*self._codes, *_named_gone(ends), *self._gone()}
            for rank in sorted(rank for rank in gone if ends[rank] is None):
                time.sleep(1)  # until its exit code is known, should this process have started it
                return Lost(rank, self._named(trainer, rank, _ended_how(self._codes.get(rank))))
            if time.monotonic() > end:
                break
            time.sleep(0.1)
        silent = [rank for rank, text in ends.items() if text is None]
        if not silent:
            return Lost(None, f"the {len(ends)} processes have lost each other")
        answer = f"has not answered for {distributed_timeout(trainer):,.0f} s"
        said = answer if how == "silent" else _ended_how(None)
        if len(silent) > 1:
            either = ", ".join(map(str, silent))
            return Lost(None, f"one of the ranks {either} of {len(ends)} {said}")
        return Lost(silent[0], self._named(trainer, silent[0], said))

    def _gone(self) -> list[int]:
        """Ranks of this machine whose processes have ended."""
        mine = socket.gethostname(), _processes()
        near = [rank for rank, place in enumerate(self._places) if place[:2] == mine and mine[1]]
        return [rank for rank in near if not _lives(self._places[rank][2])]

    def _named(self, trainer: L.Trainer, rank: int, said: str) -> str:
        hosts = [place[0] for place in self._places]
        where = f" on {hosts[rank]}" if len(set(hosts)) > 1 else ""
        return f"rank {rank} of {trainer.world_size}{where} {said}"

    def end_others(self, trainer: L.Trainer) -> None:
        """Leave no process of this machine behind."""
        lightning_launch.end_children(trainer, GOING)

    def _ended(self, trainer: L.Trainer, rank: int, code: int) -> None:
        """A process of this machine has ended; where this one hangs, leave."""
        self._codes[rank] = code
        threading.Thread(target=self._leave, args=(trainer, rank, code), daemon=True).start()

    def _leave(self, trainer: L.Trainer, rank: int, code: int) -> None:
        """End this process if it hangs: neither finished, nor writing a checkpoint."""
        while not self._noticed.wait(HANGING if self._met.is_set() else 1):
            if self._finished.is_set() or _has_finished(rank):
                return
            if not getattr(trainer.strategy.checkpoint_io, "writing", False):
                self.hanging(Lost(rank, self._named(trainer, rank, _ended_how(code))))
                lightning_launch.end_children(trainer)
                os._exit(1)


def of(trainer: L.Trainer) -> Peers:
    """A trainer's `Peers`; ones that know nothing where it has none."""
    callbacks: list[L.Callback] = getattr(trainer, "callbacks", [])
    return next((one for one in callbacks if isinstance(one, Peers)), Peers())


def takes_over(run: Path) -> bool:
    """True for one rank: it owns the run whose owner is gone, and has not told its end."""
    try:
        _TAKEN.append(runs.lock(run))  # until this process ends
    except RunError:
        return False
    facts = runs.read_json(run / "run.json")
    return not (facts.get("failed") or facts.get("stopped"))


def _keeper_answers() -> bool:
    """False if the process that keeps the store is gone; torch asks it with a page of warnings."""
    place = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT", "0")
    if not place[0] or place[1] == "0":  # they have met in a file
        return True
    try:
        socket.create_connection((place[0], int(place[1])), timeout=3).close()
    except OSError:
        return False
    return True


def distributed_timeout(trainer: L.Trainer) -> float:
    """Seconds after which a collective that a rank does not join fails; 0 if there is no limit."""
    limit = lightning_launch.timeout(trainer)
    return limit.total_seconds() if limit else 0.0


def _named_gone(ends: dict[int, str | None]) -> list[int]:
    """Ranks that others have found to be gone."""
    lists = [text.removeprefix(LOST).split(",") for text in ends.values() if text]
    return [int(rank) for found in lists for rank in found if rank]


def _processes() -> str:
    """Identity of the set of processes that this one can see; empty on systems without /proc."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _lives(number: int) -> bool:
    """False for a process of this machine that has ended, waited for or not."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def _key(rank: int) -> str:
    return f"end/{rank}"


def _done(rank: int) -> str:
    return f"done/{rank}"


def _has_finished(rank: int) -> bool:
    """True if a rank has told so; a store that is held by a call which hangs is not waited for."""
    found: list[str | None] = []

    def ask() -> None:
        with suppress(RuntimeError, ValueError):
            found.append(distributed.told(_done(rank)))

    asked = threading.Thread(target=ask, daemon=True)
    asked.start()
    asked.join(GRACE)
    return found == [FINISHED]


def _ended_how(code: int | None) -> str:
    """How a process ended, by its exit code; a negative one is a signal's number."""
    if code is None:
        return "has ended without a word: killed, or its machine has failed"
    if code >= 0:
        return f"has ended with exit code {code}"
    kill = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-code).name}{kill}"
