"""The pool of processes: results by rank, nothing left behind, failures named."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import wait

import pytest
import torch

from genlab import distributed
from genlab.testing.ranks import RankError, Ranks


def total(rank: int, world: int, value: float) -> torch.Tensor:
    return distributed.all_reduce_sum(torch.tensor(value + rank))


def dirty(rank: int, world: int) -> None:
    os.environ["LEFT"] = "behind"
    os.chdir("/")
    torch.set_default_dtype(torch.float64)


def state(rank: int, world: int) -> tuple[int, str, bool, str, float]:
    left = "LEFT" in os.environ or "LOCAL_RANK" in os.environ
    return os.getpid(), os.getcwd(), left, str(torch.get_default_dtype()), float(torch.rand(()))


def wrong(rank: int, world: int) -> None:
    if rank == 1:
        raise ArithmeticError("this program is wrong")
    distributed.all_reduce_sum(torch.ones(()))  # waits for ever


def ends(rank: int, world: int) -> None:
    os._exit(1)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_rank_answers(ranks: Ranks, world: int) -> None:
    expected = world * 2.0 + sum(range(world))
    assert [float(x) for x in ranks.run(total, world, 2.0)] == [expected] * world


def test_processes_stay_and_nothing_is_left_in_them(ranks: Ranks) -> None:
    before = ranks.run(state, 1)[0]
    ranks.run(dirty, 2)
    assert ranks.run(f"{__name__}:state", 1)[0] == before
    assert before[2:4] == (False, "torch.float32")


def variable(rank: int, world: int) -> str:
    return os.environ["SAID_LATE"]


def test_programs_have_the_environment_of_the_call(
    ranks: Ranks, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks.run(state, 2)  # processes that were there before
    for value in ("first", "second"):
        monkeypatch.setenv("SAID_LATE", value)
        assert ranks.run(variable, 2) == [value] * 2


@pytest.mark.parametrize(
    ("program", "said"), [(wrong, "this program is wrong"), (ends, "ended without an answer")]
)
def test_a_failure_is_named_and_the_next_program_runs(program: object, said: str) -> None:
    pool = Ranks()
    with pytest.raises(RankError, match=said):
        pool.run(program, 2)  # type: ignore[arg-type]
    assert float(pool.run(total, 2, 0.0)[0]) == 1
    pool.close()


def test_a_process_that_was_ended_between_two_programs_is_replaced() -> None:
    with Ranks() as pool:
        last = pool.run(state, 2)[1][0]
        os.kill(last, signal.SIGKILL)
        assert wait([process.sentinel for process, _ in pool._members], 60)
        assert float(pool.run(total, 2, 0.0)[0]) == 1
