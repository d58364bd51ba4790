"""A rank that ends is named by those that are left, in one line."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from genlab import checkpoints, runs
from genlab.testing.ranks import RankError, Ranks
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
    peers, trainer = Peers(), SimpleNamespace(world_size=2)
    for hosts, where in ((("a", "a"), ""), (("a", "b"), " on b")):
        peers._places = [(host, "", 1) for host in hosts]
        assert peers._named(trainer, 1, "has ended") == f"rank 1 of 2{where} has ended"  # type: ignore[arg-type]


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
