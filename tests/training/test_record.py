"""What a run remembers, read again after a crash."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, TextIO

import numpy as np
import pytest
import timm
import torch

from genlab import runs
from genlab.training import record
from tests.conftest import Here, Shell

TOKEN = "hf5ecret0f1his2ser"


def test_the_last_validation_is_found_though_the_last_row_is_torn(tmp_path: Path) -> None:
    text = "step,train/loss,val/loss,val/accuracy\n3,1.5,,\n3,,0.9,0.5\n7,1.25,0.7,\n11,1.0,0."
    (tmp_path / "metrics.csv").write_text(text)
    expected = {"val/loss": 0.7, "val/accuracy": 0.5, "val_step": 8}
    assert record.last_validation(tmp_path) == expected
    assert record.last_validation(tmp_path / "nothing") == {}


@pytest.mark.parametrize(("of", "shown"), [(90, "last epoch"), (60, "step 60")])
def test_the_table_names_the_step_of_an_earlier_validation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], of: int, shown: str
) -> None:
    final = {"step": 90, "val_step": of, "fit_seconds": 1.0, "val/loss": 0.5, "best/val/loss": 0.4}
    record.summary(tmp_path, final, "max_steps")
    header = next(line for line in capsys.readouterr().out.splitlines() if "selected" in line)
    assert shown in header
    assert ("last epoch" in header) == (of == 90)


@pytest.mark.parametrize(
    ("metrics", "shown"),
    [
        ({}, []),
        ({"val/loss": 0.5}, ["last epoch"]),
        ({"val/loss": 0.5, "test/loss": 0.6}, ["last epoch", "test"]),
        ({"val/loss": 0.5, "best/val/loss": 0.4}, ["last epoch", "selected"]),
    ],
)
def test_columns_without_a_metric_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], metrics: dict[str, float], shown: list[str]
) -> None:
    record.summary(tmp_path, {"step": 2, "fit_seconds": 1.0} | metrics, "max_steps")
    table = capsys.readouterr().out.partition("run ")[0]
    assert table.splitlines()[0] == "after 2 steps, 1 s of training"
    assert [word for word in ("last epoch", "selected", "test") if word in table] == shown
    assert (len(table.splitlines()) == 1) == (not metrics)


def test_the_line_above_the_table_names_the_selected_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    final = {"step": 9000, "fit_seconds": 1.0, "val/loss": 0.5, "best/val/loss": 0.4}
    record.summary(tmp_path, final | {"best/step": 7500}, "max_steps")
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "after 9,000 steps, 1 s of training; selected: step 7,500"


def test_torn_splits_are_written_again(tmp_path: Path) -> None:
    splits = {"train": np.arange(90), "val": np.arange(90, 100)}
    lab: Any = SimpleNamespace(data=SimpleNamespace(splits=lambda: splits))
    file = tmp_path / "splits.npz"
    for content in (None, b"", b"PK\3\4torn"):
        if content is not None:
            file.write_bytes(content)
        record._write_splits(lab, tmp_path)
        with np.load(file) as found:
            assert found["val"].tolist() == splits["val"].tolist()
    before = file.stat().st_mtime_ns
    record._write_splits(lab, tmp_path)
    assert file.stat().st_mtime_ns == before


def test_of_two_starts_with_one_name_one_trains(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one has trained while this one waited for the lock."""
    monkeypatch.setenv("GENLAB_RUN_ID", "mine")
    lock = runs.lock

    def late(run: Path) -> TextIO:
        (run / "recipe.yaml").write_text("# genlab run of vae/digits\n")
        return lock(run)

    monkeypatch.setattr(runs, "lock", late)
    _, said = here("fit", "vae/digits", "trainer.max_steps=1", "track.wandb=off", code=2)
    assert "mine contains a run already; continue it with --resume" in said
    assert (here.folder / "runs/vae/digits/mine/recipe.yaml").read_text().count("\n") == 1


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The address of weights on a server, with a token."""
    place = tmp_path / "served"
    place.mkdir()
    torch.save(timm.create_model("resnet10t", in_chans=1).state_dict(), place / "weights.pth")
    serve = partial(SimpleHTTPRequestHandler, directory=str(place))
    server = ThreadingHTTPServer(("127.0.0.1", 0), serve)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/weights.pth?token={TOKEN}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("wandb", ["off", pytest.param("offline", marks=pytest.mark.slow)])
def test_tokens_in_addresses_are_nowhere_in_a_run(shell: Shell, address: str, wandb: str) -> None:
    words = ("track.test_after_fit=false", "trainer.max_steps=2", "data.limit=100")
    given = ("model.encoder=resnet10t", f"model.pretrained={address}")
    start = shell if wandb == "off" else shell.anew
    home = str(shell.folder / "torch")
    _, said = start("fit", "linear/digits", *given, *words, f"track.wandb={wandb}", TORCH_HOME=home)
    (run,) = shell.runs()
    files = [file for file in run.rglob("*") if file.is_file()]
    assert bool(list(run.glob("wandb/**/*.wandb"))) == (wandb == "offline")
    assert (run / "checkpoints" / "last.ckpt") in files
    assert not [file for file in files if TOKEN.encode() in file.read_bytes()]
    assert TOKEN not in said
    facts = runs.read_json(run / "run.json")
    assert f"model.pretrained={address.partition('?')[0]}" in facts["command"]
    assert "sha256" in facts["parents"]["pretrained"]
    (shell.folder / "served" / "weights.pth").unlink()
    again = f"model.pretrained={address}"
    shell("fit", "--resume", str(run), "trainer.max_steps=4", again, "track.wandb=off")
    assert runs.read_json(run / "metrics.json")["step"] == 4
    assert TOKEN not in (run / "recipe.yaml").read_text() + (run / "run.json").read_text()
