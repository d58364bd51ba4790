"""Two nodes of two processes by torchrun: two of its agents on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from genlab import checkpoints, runs
from tests.conftest import Shell
from tests.laws.test_resumed_processes import IN_ORDER
from tests.training.engine.test_peers import HERE, ends

pytestmark = [pytest.mark.slow, pytest.mark.ddp, pytest.mark.timeout(3600)]
FEW = ("track.wandb=off", "trainer.accelerator=cpu", "data.limit=320")
PATIENCE = 900.0  # seconds for a start and what it trains, on a loaded machine
NODES = ("trainer.devices=2", "trainer.num_nodes=2")
TORCHRUN = (
    sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=2",
    "--rdzv-backend=c10d",
)  # fmt: skip


def on_two_nodes(
    folder: Path, run_id: str, *words: str, late: float = 0.0
) -> list[tuple[int, str]]:
    """Exit code and standard error of each node's agent; the second is ``late`` seconds late."""
    command = [*TORCHRUN, f"--rdzv-endpoint=localhost:{free_port()}", f"--rdzv-id={run_id}"]
    said = [folder / f"{run_id}.{node}.err" for node in range(2)]
    agents: list[subprocess.Popen[bytes]] = []
    try:
        for file in said:
            time.sleep(late if agents else 0)
            with file.open("w") as to:
                agents.append(subprocess.Popen(
                    [*command, "-m", "genlab", *words, *NODES],
                    cwd=folder, env=os.environ | {"PYTHONPATH": HERE, "OMP_NUM_THREADS": "1"},
                    stdout=subprocess.DEVNULL, stderr=to,
                ))  # fmt: skip
        codes = [agent.wait(timeout=PATIENCE) for agent in agents]
    finally:
        for agent in agents:
            agent.terminate()  # with what it has started
    return list(zip(codes, [file.read_text() for file in said], strict=True))


def free_port() -> int:
    """A port that nobody listens on; outgoing connections may take it, which is rare."""
    with socket.socket() as own:
        own.bind(("localhost", 0))
        port: int = own.getsockname()[1]
    return port


def weights(run: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = checkpoints.read(run / "checkpoints" / "last.ckpt")[
        "state_dict"
    ]
    return found


def trained(folder: Path, run_id: str, *words: str, late: float = 0.0) -> None:
    ended = on_two_nodes(folder, run_id, *words, late=late)
    assert [code for code, _ in ended] == [0, 0], ended


@pytest.mark.parametrize("strategy", ["ddp", IN_ORDER])
def test_four_processes_on_two_nodes_train_in_one_run_and_go_on(
    shell: Shell, strategy: str
) -> None:
    """To the bit where DDP keeps the order of its sums; one node of the resumed start is late."""
    words = ("fit", "vae/digits", *FEW, "model.optimizer.schedule=constant",
             f"trainer.strategy={strategy}")  # fmt: skip
    for name, steps in (("straight", 9), ("resumed", 7)):
        trained(shell.folder, name, *words, f"trainer.max_steps={steps}")
    resumed, straight = shell.runs()
    go_on = ("fit", "--resume", str(resumed), "trainer.max_steps=9")
    trained(shell.folder, "again", *go_on, late=20.0)
    assert len(shell.runs()) == 2
    exact = 0.0 if strategy == IN_ORDER else 1e-6
    for name, value in weights(straight).items():
        torch.testing.assert_close(weights(resumed)[name], value, rtol=0, atol=exact)


def test_a_dead_rank_of_another_node_is_named(shell: Shell) -> None:
    words = ("fit", "vae/digits", *FEW, "checkpoint.every_n_steps=2", ends(3, "kill"))
    ended = on_two_nodes(shell.folder, "dead", *words, "trainer.max_steps=9")
    assert [code for code, _ in ended] == [1, 1], ended
    told = [text for _, text in ended if "\ngenlab: " in text]
    assert len(told) == 1
    assert told[0].count("rank 3 of 4 has ended without a word") == 1
    (run,) = shell.runs()
    assert "rank 3 of 4" in runs.read_json(run / "run.json")["stopped"]
    assert not runs.held(run)
    assert runs.newest(run) is not None
