"""Links: spread over a run of any length, within their room, the same after a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genlab import runs
from genlab.checkpoints import read, state
from genlab.training import session
from genlab.training.engine.links import spacing, window
from genlab.training.proof.files import hashes, sha256

DIGITS = {"track.wandb": "off", "trainer.accelerator": "cpu", "trainer.log_every_n_steps": 50}


def fit(folder: Path, **settings: Any) -> Path:
    """A run of vae/digits with links."""
    found = {key.replace("__", "."): value for key, value in settings.items()}
    return session.fit("vae/digits", DIGITS | {"track.runs": str(folder)} | found).path


def book_of(run: Path) -> dict[str, Any]:
    return runs.read_json(run / "links/links.json")


def steps(run: Path) -> list[int]:
    return [one["step"] for one in book_of(run)["links"]]


@pytest.mark.parametrize("number", [1, 3, 20])
@pytest.mark.parametrize("most", [0, 1, 5, 40])
def test_the_steps_of_links_follow_from_the_last_step_alone(number: int, most: int) -> None:
    book, kept = {"number": number, "every": 7, "most": most}, list[int]()
    for step in range(1, 5000):
        every = spacing(book, step)
        if step % every == 0:
            kept = [one for one in kept if one % every == 0] + [step]
            assert kept == list(range(every, step + 1, every))
        assert len(kept) <= max(1, most)
        assert 1 <= window(book, step) <= every


@pytest.mark.parametrize("steps_of_run", [2_000, 50_000, 777_777])
def test_ten_windows_are_a_twentieth_of_the_run_at_most(steps_of_run: int) -> None:
    for book in (
        {"number": 20, "every": -(-steps_of_run // 21), "most": 40},
        {"number": 20, "every": 3, "most": 40},
    ):
        assert 10 * window(book, steps_of_run) <= steps_of_run / 20


def test_every_link_is_a_whole_state_with_its_hash(tmp_path: Path) -> None:
    run = fit(tmp_path, track__links=3, trainer__max_epochs=2)
    book = book_of(run)
    assert steps(run) == [0, 10, 20, 30]
    assert all(one["later"] for one in book["links"])
    for one in book["links"][1:]:
        file = run / "links" / one["file"]
        content = read(file)
        assert (content["global_step"], state.digest(content)) == (one["step"], one["state"])
        assert (sha256(file), file.stat().st_size) == (one["sha256"], one["bytes"])
    assert runs.read_json(run / "links/files.json") == json.loads(json.dumps(hashes(run)))
    assert state.first_difference(read(run / "links/step-00000010.ckpt"), content)


def test_links_of_a_run_without_end_are_thinned_out(tmp_path: Path) -> None:
    settings = {"trainer__max_epochs": -1, "trainer__max_time": "00:01:00:00"}
    run = fit(tmp_path, track__links=2, trainer__max_steps=48, **settings)
    assert steps(run) == [0, 8, 16, 24, 32]
    files = sorted((run / "links").glob("*.ckpt"))
    assert [file.name for file in files] == [f"step-{step:08d}.ckpt" for step in (8, 16, 24, 32)]


def test_links_keep_within_their_room(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = 253_559
    run = fit(tmp_path, track__links=6, track__links_gb=3.5 * size / 1e9, trainer__max_epochs=2)
    said = capsys.readouterr().err
    assert said.count("holds 3 states of 0.00025 GB: fewer than 6 links are kept") == 1
    assert "track.links_gb=" in said
    assert 2 <= len(list((run / "links").glob("*.ckpt"))) <= 3
    other = fit(tmp_path, track__links=6, track__keep_gb=0.5 * size / 1e9, trainer__max_epochs=1)
    said = capsys.readouterr().err
    assert "track.keep_gb=0.000126779 holds 0 states" in said
    assert said.count("no further links are kept") == 1
    assert steps(other) == [0]
    assert not list((other / "links").glob("*.ckpt"))


def test_a_full_disk_ends_the_links_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from genlab.checkpoints.writing import AtomicCheckpointIO

    save = AtomicCheckpointIO.save_checkpoint

    def full(self: Any, content: Any, path: Any, storage_options: Any = None) -> None:
        if "links/step-00000006" in str(path):
            raise OSError(28, "No space left on device")
        save(self, content, path, storage_options)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", full)
    run = fit(tmp_path, track__links=7, trainer__max_epochs=1)
    assert "the state of step 6 cannot be kept: " in capsys.readouterr().err
    assert steps(run) == [0, 3]
    assert runs.read_json(run / "metrics.json")["step"] > 10


def test_a_run_without_links_has_no_folder_of_them(digits_run: Path) -> None:
    assert not (digits_run / "links").exists()


@pytest.mark.parametrize("word", ["track.links=-1", "track.links_gb=0"])
def test_wrong_settings_are_refused(word: str) -> None:
    from genlab import cli
    from genlab.errors import InputError

    with pytest.raises(InputError, match=r"track\.links"):
        cli.run(["fit", "vae/digits", word])
