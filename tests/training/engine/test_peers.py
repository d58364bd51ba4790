"""A rank that ends is named by those that are left, in one line."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from genlab import checkpoints, runs
from genlab.testing.ranks import RankError, Ranks
from genlab.training.engine import peers
from genlab.training.engine.peers import Peers
from tests import forks
from tests.conftest import Shell
from tests.training.engine import programs_peers

WORDS = (
    "fit", "vae/digits", "trainer.accelerator=cpu", "trainer.devices=2", "track.wandb=off",
    "trainer.max_epochs=2", "checkpoint.every_n_steps=2", "data.limit=320",
)  # fmt: skip
HERE = str(Path(__file__).parents[3])
GONE = "has ended without a word: killed, or its machine has failed"
OWN = "has failed: ArithmeticError: this program is wrong"


@pytest.mark.parametrize(("how", "said"), [("exit", GONE), ("raise", OWN)])
def test_rank_zero_names_the_one_that_ended(how: str, said: str, tmp_path: Path) -> None:
    """In a ring of five, rank 3's end reaches it through others that leave."""
    with pytest.raises(RankError, match="rank 3 of 5"), Ranks() as own:
        own.run(programs_peers.ends, 5, str(tmp_path), how)
    told = [(tmp_path / rank).read_text() for rank in "0124"]
    assert told == [f"rank 3 of 5 {said}", *["another rank has ended"] * 3]
    assert (tmp_path / "3").is_file() is (how == "raise")


def test_machines_are_named_where_there_are_several() -> None:
    own, trainer = Peers(), SimpleNamespace(world_size=2)
    for hosts, where in ((("a", "a"), ""), (("a", "b"), " on b")):
        own._places = [(host, "", 1) for host in hosts]
        assert own._named(trainer, 1, "has ended") == f"rank 1 of 2{where} has ended"  # type: ignore[arg-type]


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Exit codes with which this process would have ended; the clock is short."""
    codes: list[int] = []
    monkeypatch.setattr(peers, "HANGING", 0.05)
    monkeypatch.setattr("os._exit", codes.append)
    return codes


def lost_by(own: Peers, writing: bool = False) -> SimpleNamespace:
    """A trainer of two processes of which one has ended, until the clock of `own` stops."""
    files = SimpleNamespace(writing=writing)
    strategy = SimpleNamespace(checkpoint_io=files, launcher=None)
    trainer = SimpleNamespace(world_size=2, global_rank=0, strategy=strategy)
    own._met.set()
    own.hanging = lambda lost: own._noticed.set()  # the loop goes on where a process would end
    own._ended(trainer, 1, 3)  # type: ignore[arg-type]
    return trainer


def no_clock() -> bool:
    return not any("_leave" in thread.name for thread in threading.enumerate())


def waited(until: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not until() and time.monotonic() < end:
        time.sleep(0.01)


def test_a_process_that_hangs_is_ended(ended: list[int]) -> None:
    lost_by(Peers())
    waited(lambda: ended)
    assert ended == [1]


def test_one_that_has_finished_is_not(ended: list[int]) -> None:
    own = Peers()
    own.finish(SimpleNamespace(world_size=1))  # type: ignore[arg-type]
    lost_by(own)
    waited(no_clock)
    assert not ended


def test_one_whose_other_has_finished_is_not(
    ended: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    store: dict[str, str] = {}
    monkeypatch.setattr("genlab.distributed.tell", store.__setitem__)
    monkeypatch.setattr("genlab.distributed.told", store.get)
    Peers().finish(SimpleNamespace(world_size=2, global_rank=1))  # type: ignore[arg-type]
    lost_by(Peers())
    waited(no_clock)
    assert not ended


def test_one_that_writes_a_checkpoint_is_ended_behind_it(ended: list[int]) -> None:
    trainer = lost_by(Peers(), writing=True)
    time.sleep(0.5)
    assert not ended
    trainer.strategy.checkpoint_io.writing = False
    waited(lambda: ended)
    assert ended == [1]


def ends(rank: int, how: str, where: str = "step") -> str:
    given = f'{{"rank": {rank}, "how": "{how}", "where": "{where}"}}'
    path = "tests.training.engine.programs_peers.Ends"
    return f'trainer.callbacks+={{"class_path": "{path}", "init_args": {given}}}'


def lines_of(shell: Shell, *words: str, code: int) -> list[str]:
    """What genlab itself says of the end, after the line of the start."""
    _, err = shell.anew(*WORDS, *words, code=code, PYTHONPATH=HERE)
    return err[err.index("genlab: ") :].splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "how", "where", "said", "state"),
    [
        (1, "kill", "step", "was ended by SIGKILL (out of memory?)", "stopped"),
        (1, "kill", "validation", "was ended by SIGKILL (out of memory?)", "stopped"),
        (1, "exit", "setup", "has ended with exit code 3", "stopped"),
        (1, "raise", "step", OWN, "failed"),
        (0, "kill", "step", GONE, "stopped"),
    ],
)
def test_a_dead_rank_is_one_line_and_the_run_goes_on(
    rank: int, how: str, where: str, said: str, state: str, shell: Shell
) -> None:
    process = shell.start(*WORDS, ends(rank, how, where), PYTHONPATH=HERE)
    _, err = process.communicate(timeout=forks.LIMIT)
    assert process.returncode == (1 if rank else -9), err
    assert err.count(f"rank {rank} of 2 {said}") == 1
    first, second = err[err.index("genlab: ") :].splitlines()
    assert first.endswith(f"rank {rank} of 2 {said}")
    assert ("Traceback" in err) is (how == "raise")
    (run,) = shell.runs()
    assert f"genlab fit --resume {run}" in second
    assert runs.read_json(run / "run.json")[state] == f"rank {rank} of 2 {said}"
    assert not runs.held(run)
    if where != "setup":
        newest = runs.newest(run)
        assert newest is not None
        assert checkpoints.read(newest)["global_step"] >= 2
        again = ("trainer.callbacks=[]",)
        shell.anew("fit", "--resume", str(run), *again, PYTHONPATH=HERE)
        assert runs.read_json(run / "metrics.json")["step"] == 10


@pytest.mark.slow
def test_a_rank_that_never_starts_is_not_waited_for(shell: Shell) -> None:
    early = "trainer.callbacks+=tests.training.engine.programs_peers.NeverStarts"
    first, _ = lines_of(shell, early, code=1)
    assert (
        first == "genlab: vae/digits stopped after step 0: rank 1 of 2 has ended with exit code 3"
    )


@pytest.mark.slow
def test_a_late_rank_is_waited_for_with_a_line_and_changes_nothing(shell: Shell) -> None:
    words = (*WORDS, "trainer.max_steps=4", "model.optimizer.schedule=constant")
    late = (
        'trainer.callbacks+={"class_path": "tests.training.engine.programs_peers.Late",'
        ' "init_args": {"seconds": 20}}'
    )
    said = {}
    for run_id, more in (("late", [late]), ("punctual", [])):
        _, said[run_id] = shell.anew(*words, *more, PYTHONPATH=HERE, GENLAB_RUN_ID=run_id)
    assert said["late"].count("waiting for 1 other process, at most 1,800 s") == 1
    one, other = (
        checkpoints.read(run / "checkpoints" / "last.ckpt")["state_dict"] for run in shell.runs()
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    metrics = [runs.read_json(run / "metrics.json") for run in shell.runs()]
    assert metrics[0]["step"] == metrics[1]["step"] == 4


@pytest.mark.slow
def test_a_rank_that_hangs_ends_with_the_limit_of_the_group(shell: Shell) -> None:
    limit = 'trainer.strategy={class_path: DDPStrategy, init_args: {timeout: "0:01:00"}}'
    first, _ = lines_of(shell, ends(1, "stop"), limit, code=1)
    assert first.endswith("rank 1 of 2 has not answered for 60 s")
    left = subprocess.run(
        ["pgrep", "-f", str(shell.folder)], capture_output=True, text=True, check=False
    )
    assert left.stdout == ""


def callback(name: str) -> str:
    return f"trainer.callbacks+=tests.training.engine.programs_peers.{name}"


@pytest.mark.slow
def test_a_rank_that_ends_badly_after_its_training_spoils_nothing(shell: Shell) -> None:
    short = (callback("EndsAfterwards"), "trainer.max_epochs=1")
    shell.anew(*WORDS, *short, PYTHONPATH=HERE)
    (run,) = shell.runs()
    assert "stopped" not in runs.read_json(run / "run.json")
    assert "test_checkpoint" in runs.read_json(run / "metrics.json")


@pytest.mark.slow
def test_a_checkpoint_that_is_being_written_outlives_another_rank(shell: Shell) -> None:
    first, second = lines_of(shell, callback("EndsWhileWritten"), code=1)
    assert first.endswith("stopped after step 4: rank 1 of 2 has ended with exit code 3")
    assert "last.ckpt is kept" in second
    (run,) = shell.runs()
    assert checkpoints.read(run / "checkpoints" / "last.ckpt")["global_step"] == 4
