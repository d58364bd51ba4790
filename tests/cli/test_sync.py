"""Offline W&B parts go up once, the oldest of each run first."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from genlab import runs
from genlab.cli import sync as module
from genlab.training.tracking import settings
from tests.conftest import Here
from tests.run_folders import write_run

PARTS = ("20261121_090000", "20261121_100000", "20261120_230000")


@pytest.fixture
def two(here: Here) -> Here:
    for name in ("one", "two"):
        run = write_run(here.folder / "runs" / "a" / "b" / name, seed=0, lr=1, value=1)
        for stamp in PARTS:
            part = run / "wandb" / f"offline-run-{stamp}-{name}"
            part.mkdir(parents=True)
            (part / f"run-{name}.wandb").write_bytes(b":W&B..." + b"a record")
        (run / "wandb" / "run-20261121_100000-online").mkdir()
    return here


class Server:
    """Stands for ``wandb sync``: leaves its mark, or says what was wrong."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.refuse = ""

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        part = Path(command[-1])
        self.seen.append(f"{part.parent.parent.name} {part.name[12:27]}")
        if self.refuse and self.refuse in part.name:
            said = "wandb: Syncing 1 run(s)\nwandb: ERROR permission denied\n"
            return subprocess.CompletedProcess(command, 0, "", said)
        (next(part.glob("*.wandb"))).with_suffix(".wandb.synced").touch()
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(module.subprocess, "run", server)
    monkeypatch.setattr(settings, "no_upload_because", lambda: "")
    return server


def test_oldest_first_and_never_twice(two: Here, server: Server) -> None:
    expected = [f"{name} {stamp}" for name in ("one", "two") for stamp in sorted(PARTS)]
    out, _ = two("sync", "--dry-run")
    listed = [Path(line) for line in out.splitlines()]
    assert [f"{p.parent.parent.name} {p.name[12:27]}" for p in listed] == expected
    assert not server.seen
    out, _ = two("sync", "one")
    assert server.seen == expected[:3]
    assert "3 of 3 parts are up" in out
    two("sync")
    assert server.seen == expected
    out, _ = two("sync")
    assert "nothing to sync" in out
    assert server.seen == expected


def test_parts_without_a_record_and_parts_under_way_are_left(two: Here, server: Server) -> None:
    run = two.folder / "runs" / "a" / "b" / "one"
    first, last = f"offline-run-{PARTS[2]}-one", f"offline-run-{PARTS[1]}-one"
    (run / "wandb" / first / "run-one.wandb").write_bytes(b":W&B...")
    with runs.lock(run):
        two("sync", "one")
    assert server.seen == [f"one {PARTS[0]}"]
    two("sync", "one")
    assert server.seen == [f"one {PARTS[0]}", f"one {last[12:27]}"]


def test_after_a_refusal_the_runs_later_parts_wait(two: Here, server: Server) -> None:
    server.refuse = f"{PARTS[0]}-one"
    out, err = two("sync", code=1)
    assert "one 20261121_100000" not in server.seen
    assert sum(name.startswith("two") for name in server.seen) == 3
    assert "not uploaded: ERROR permission denied" in err
    assert "4 of 6 parts are up" in out


@pytest.mark.parametrize(
    ("key", "said"), [("", "wandb login"), ("a" * 40, "does not answer")], ids=["key", "network"]
)
def test_without_key_or_network_one_line_says_what_to_do(
    two: Here, monkeypatch: pytest.MonkeyPatch, key: str, said: str
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("NETRC", str(two.folder / "none"))
    monkeypatch.setenv("HOME", str(two.folder))
    _, err = two("sync", code=2)
    assert said in err
    assert len(err.strip().splitlines()) == 2
    assert "6 parts wait" in err
