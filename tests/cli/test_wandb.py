"""An offline W&B run, read back from its own file."""

from __future__ import annotations

import importlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Shell


def records(file: Path) -> list[Any]:
    """All records of a .wandb file: LevelDB log framing around protobuf messages."""
    pb: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")

    data, found, position, parts = file.read_bytes()[7:], [], 0, b""
    base = 7
    while position + 7 <= len(data):
        left = 32768 - (position + base) % 32768
        if left < 7:
            position += left
            continue
        length, kind = struct.unpack("<HB", data[position + 4 : position + 7])
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # full, last
            record = pb.Record()
            record.ParseFromString(parts)
            found.append(record)
            parts = b""
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shell = Shell(tmp_path_factory.mktemp("wandb"))
    words = ("fit", "vae/digits", "trainer.max_epochs=2", "trainer.log_every_n_steps=5")
    _, err = shell.anew(*words, "track.wandb=offline", "track.upload_checkpoints=best")
    assert "genlab sync" in err
    run = shell.runs()[0]
    shell.anew("fit", "--resume", str(run), "trainer.max_epochs=3")
    return run


def test_config_metrics_images_artifact_and_a_clean_exit(run: Path) -> None:
    files = sorted(run.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2  # one of the first start, one of the continuation
    seen = records(files[0])
    runs = [r.run for r in seen if r.WhichOneof("record_type") == "run"]
    config = {c.key or c.nested_key[0]: c.value_json for r in runs for c in r.config.update}
    config |= {
        c.key: c.value_json
        for r in seen
        if r.WhichOneof("record_type") == "config"
        for c in r.config.update
    }
    assert json.loads(config["model"])["latent_dim"] > 0
    assert json.loads(config["run"])["versions"]["torch"]
    assert runs[0].run_group == "vae/digits"
    assert {"VAE", "Digits"} <= set(runs[0].tags)
    keys = {
        i.key or i.nested_key[0]
        for r in seen
        if r.WhichOneof("record_type") == "history"
        for i in r.history.item
    }
    assert {
        "train/loss",
        "train/loss_kl",
        "val/loss",
        "trainer/global_step",
        "pictures/samples",
    } <= keys
    assert list(run.glob("wandb/offline-run-*/files/media/images/pictures/*.png"))
    kinds = [r.WhichOneof("record_type") for r in seen]
    assert "artifact" in kinds or any(
        r.request.WhichOneof("request_type") == "log_artifact"
        for r in seen
        if r.WhichOneof("record_type") == "request"
    )
    exits = [r.exit.exit_code for r in seen if r.WhichOneof("record_type") == "exit"]
    assert exits == [0]


def test_a_continued_run_is_the_same_wandb_run(run: Path) -> None:
    ids = {
        r.run.run_id
        for file in run.glob("wandb/offline-run-*/*.wandb")
        for r in records(file)
        if r.WhichOneof("record_type") == "run"
    }
    assert ids == {run.name}
