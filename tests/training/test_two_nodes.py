"""Two nodes of two processes by torchrun: two of its agents on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from genlab import checkpoints, runs
from tests.conftest import Shell
from tests.training.engine.test_peers import HERE, ends

pytestmark = [pytest.mark.slow, pytest.mark.ddp]
FEW = ("track.wandb=off", "trainer.accelerator=cpu", "data.limit=320")
NODES = ("trainer.devices=2", "trainer.num_nodes=2")
TORCHRUN = (
    sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=2",
    "--rdzv-backend=c10d",
)  # fmt: skip


def on_two_nodes(folder: Path, run_id: str, *words: str) -> list[tuple[int, str]]:
    """Exit code and standard error of each node's agent."""
    port = 20000 + os.getpid() % 20000
    command = [*TORCHRUN, f"--rdzv-endpoint=localhost:{port}", f"--rdzv-id={run_id}"]
    agents = [
        subprocess.Popen(
            [*command, "-m", "genlab", *words, *NODES],
            cwd=folder, env=os.environ | {"PYTHONPATH": HERE, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    said = [agent.communicate(timeout=400)[1] for agent in agents]
    return [(agent.returncode, text) for agent, text in zip(agents, said, strict=True)]


def weights(run: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = checkpoints.read(run / "checkpoints" / "last.ckpt")[
        "state_dict"
    ]
    return found


def test_four_processes_on_two_nodes_train_in_one_run_and_go_on(shell: Shell) -> None:
    """Sums of more than two numbers differ by a rounding."""
    words = ("fit", "vae/digits", *FEW, "model.optimizer.schedule=constant")
    for name, steps in (("straight", 9), ("resumed", 7)):
        ended = on_two_nodes(shell.folder, name, *words, f"trainer.max_steps={steps}")
        assert [code for code, _ in ended] == [0, 0], ended
    resumed, straight = shell.runs()
    ended = on_two_nodes(
        shell.folder, "again", "fit", "--resume", str(resumed), "trainer.max_steps=9"
    )
    assert [code for code, _ in ended] == [0, 0], ended
    assert len(shell.runs()) == 2
    for name, value in weights(straight).items():
        torch.testing.assert_close(weights(resumed)[name], value, rtol=0, atol=1e-6)


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
