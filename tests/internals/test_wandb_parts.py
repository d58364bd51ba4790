"""Every private part of wandb that genlab reaches for is there, and does what its function says."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger
from wandb.sdk import wandb_run, wandb_setup

from genlab.internals import wandb_parts as parts
from tests.cli.test_wandb import records


def test_drop_anonymous() -> None:
    logger = WandbLogger(offline=True)
    assert "anonymous" in logger._wandb_init
    parts.drop_anonymous(logger)
    assert "anonymous" not in logger._wandb_init
    assert "project" in logger._wandb_init  # it is what goes to wandb.init


def test_skip_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def look(run: wandb_run.Run) -> None:
        looked.append("wandb.sdk.launch")

    assert hasattr(wandb_run.Run, parts.LAUNCH)
    monkeypatch.setattr(wandb_run.Run, parts.LAUNCH, look)
    monkeypatch.delitem(sys.modules, "wandb.sdk.launch", raising=False)
    parts.skip_launch()
    parts.skip_launch()
    run = object.__new__(wandb_run.Run)
    getattr(run, parts.LAUNCH)()
    assert looked == []
    monkeypatch.setitem(sys.modules, "wandb.sdk.launch", ModuleType("launch"))
    getattr(run, parts.LAUNCH)()
    assert looked == ["wandb.sdk.launch"]


def test_drop_farewell_has_records_and_use_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run for all: wandb's service takes seconds to start."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    parts.drop_farewell()  # where there is no connection, nothing
    parts.skip_launch()
    hooks: list[object] = []
    unregister = atexit.unregister

    def note(hook: Callable[..., object]) -> None:
        hooks.append(hook)
        unregister(hook)

    monkeypatch.setattr(atexit, "unregister", note)
    with wandb.init(dir=tmp_path, settings=wandb.Settings(silent=True)) as run:
        run.log({"loss": 1.0})
        with pytest.raises(TypeError, match="offline"):
            run.use_artifact(wandb.Artifact("public", "model"))
        parts.use_artifact(run, wandb.Artifact("private", "model"))
    assert wandb_setup.singleton()._connection is not None
    parts.drop_farewell()
    assert hooks  # the connection took its hook off the exit
    wandb.teardown()
    (part,) = tmp_path.glob("wandb/offline-run-*")
    assert parts.has_records(part)
    assert not parts.is_synced(part)
    (file,) = part.glob("*.wandb")
    (used,) = (r.artifact for r in records(file) if r.WhichOneof("record_type") == "artifact")
    assert (used.name, used.use_after_commit) == ("private", True)
    file.write_bytes(file.read_bytes()[: parts.HEADER])
    assert file.read_bytes()[:4] == b":W&B"
    assert not parts.has_records(part)


def test_is_synced(tmp_path: Path) -> None:
    """The mark has the name that wandb's own command writes."""
    from wandb.cli import cli

    source = Path(str(cli.__file__)).parents[1]
    suffix = [file for file in source.rglob("*sync*.py") if ".synced" in file.read_text()]
    assert suffix, "wandb writes its mark elsewhere"
    (tmp_path / "run-x.wandb").touch()
    assert not parts.is_synced(tmp_path)
    (tmp_path / "run-x.wandb.synced").touch()
    assert parts.is_synced(tmp_path)
