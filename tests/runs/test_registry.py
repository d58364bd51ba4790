"""The registry: states and facts of runs, and an index that is never wrong."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from genlab import runs
from genlab.experiments.comparison import Run
from genlab.runs import registry
from genlab.runs.rows import Row, damaged
from tests.run_folders import write_run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three runs, whose files have not changed for a minute."""
    for name, seed in (("1", 0), ("2", 1), ("3", 2)):
        write_run(tmp_path / "runs" / "a" / "b" / name, seed=seed, lr=0.1, value=float(seed))
    settle(tmp_path / "runs")
    return tmp_path / "runs"


def settle(root: Path) -> None:
    """Let files be a minute old: those that have just changed are read again."""
    past = time.time() - 60
    for path in [*root.rglob("*"), root]:
        os.utime(path, (past, past), follow_symlinks=False)


def row_of(root: Path, name: str) -> Row:
    return next(row for row in registry.scan(root) if row.id == name)


def change(run: Path, **facts: object) -> None:
    runs.write_json(run / "run.json", runs.read_json(run / "run.json") | facts)


def test_states(root: Path) -> None:
    folder = root / "a" / "b"
    for name in ("stopped", "failed", "stale", "again"):
        write_run(folder / name, seed=0, lr=0.1, value=1.0, finished=name == "again")
    change(folder / "stopped", stopped="SIGTERM at step 20")
    change(folder / "failed", failed="the loss is nan")
    with (folder / "again" / "metrics.csv").open("a") as file:  # resumed after its end, and killed
        file.write("\n29,1.0,1.0\n")
    with runs.lock(folder / "1"):
        found = {row.id: row.state for row in registry.scan(root)}
    assert found == {"1": "running", "2": "done", "3": "done", "stopped": "stopped",
                     "failed": "failed", "stale": "stale", "again": "stale"}  # fmt: skip
    assert row_of(root, "1").state == "done"


def test_a_killed_run_is_stale_though_none_of_its_files_has_changed(root: Path) -> None:
    run = write_run(root / "a" / "b" / "killed", seed=0, lr=0.1, value=1.0, finished=False)
    program = (
        f"from pathlib import Path; from genlab import runs; h = runs.lock(Path({str(run)!r}))"
    )
    program += "; print('locked', flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    settle(root)
    assert [row_of(root, "killed").state for _ in range(2)] == ["running", "running"]
    child.kill()
    child.communicate()
    assert row_of(root, "killed").state == "stale"


def test_a_run_that_begins_again_is_running_before_it_writes_anything(root: Path) -> None:
    assert row_of(root, "1").state == "done"
    with runs.lock(root / "a" / "b" / "1"):
        assert row_of(root, "1").state == "running"
    assert row_of(root, "1").state == "done"


def test_facts_and_metrics(root: Path) -> None:
    run = root / "a" / "b" / "2"
    change(run, started="2026-11-29T10:00:00+0000", host="node-3", device="cuda", seed=7,
           fingerprint="ab12", parents={"pretrained": {"run": "simclr/digits/9"}})  # fmt: skip
    final = runs.read_json(run / "metrics.json")
    judge = {"evaluate/fid_lenet_ab12": 3.5, "evaluate/judge_lenet_ab12": "lenet, sha256 ab12"}
    runs.write_json(run / "metrics.json", final | {"fit_seconds": 7200} | judge)
    row = row_of(root, "2")
    assert (row.recipe, row.step, row.hours, row.host, row.device) == (
        "a/b", 20, 2.0, "node-3", "cuda")  # fmt: skip
    assert (row.monitor, row.mode, row.best) == ("val/loss", "min", 1.0)
    assert (row.seed, row.fingerprint, row.parents) == (7, "ab12", ["simclr/digits/9"])
    assert row.size == sum(f.stat().st_size for f in run.rglob("*") if f.is_file())
    assert row.judge("evaluate/fid_lenet_ab12") == "lenet, sha256 ab12"
    assert row.judge("val/loss") == ""


def test_before_its_end_a_run_shows_its_last_and_best_metrics_so_far(root: Path) -> None:
    run = write_run(root / "a" / "b" / "x", seed=0, lr=0.1, value=1.0, finished=False)
    rows = ["step,train/loss,val/loss,val/other,test/loss", "9,5,,,", "9,,3,30,", "19,4,,,",
            "19,,2,20,", "29,,6,60,", "29,,nan,70,", "99,,,,1", "40,"]  # fmt: skip
    (run / "metrics.csv").write_text("\n".join(rows))
    row = row_of(root, "x")
    assert row.step == 30  # not that of the test
    assert (row.best, row.value("val/other")) == (2.0, 20.0)
    assert row.metrics["val/other"] == 70.0
    assert row.metrics["train/loss"] == 4.0


def test_step_and_time_of_a_stopped_run_are_its_newest_checkpoint_s(root: Path) -> None:
    run = write_run(root / "a" / "b" / "x", seed=0, lr=0.1, value=1.0, finished=False)
    change(run, started="2026-11-01T10:00:00+0000", failed="ValueError: x")
    assert (row_of(root, "x").step, row_of(root, "x").hours) == (20, 0.0)
    kept = {"global_step": 12, "callbacks": {"C": {"best": {}, "seconds": 7.5, "by": []}}}
    with zipfile.ZipFile(run / "checkpoints" / "last.ckpt", "w") as archive:
        archive.writestr("last/data.pkl", pickle.dumps(kept, protocol=2))
    row = row_of(root, "x")
    assert (row.state, row.step, row.hours) == ("failed", 12, 7.5 / 3600)
    assert (Run(run).state, Run(run).step) == ("failed", 12)


@pytest.mark.parametrize("name", ["run.json", "metrics.json", "recipe.yaml"])
def test_a_run_with_a_damaged_file_is_damaged(root: Path, name: str) -> None:
    run = root / "a" / "b" / "2"
    (run / name).write_text("{")
    row = row_of(root, "2")
    assert row.state == "damaged"
    assert damaged(run) == [run / name]
    assert row.seed == 1


def to_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.unlink(),
        lambda file: file.write_text("not an index"),
        lambda file: file.write_bytes(file.read_bytes().replace(b'"done"', b'"dome"')),
        lambda file: file.write_bytes(file.read_bytes()[:-40]),
        lambda file: file.write_bytes(b"\xff\xfe"),
        to_pipe,
    ],
)
def test_a_wrong_index_is_made_anew(root: Path, spoil: Callable[[Path], object]) -> None:
    right = registry.scan(root)
    kept = (root / registry.INDEX).read_bytes()
    spoil(root / registry.INDEX)
    assert registry.scan(root) == right
    if (root / registry.INDEX).is_file():
        assert (root / registry.INDEX).read_bytes() == kept


def test_an_index_of_another_version_is_made_anew(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = registry.scan(root)
    monkeypatch.setattr(registry, "SHAPE", [*registry.SHAPE[1:], "more"])
    assert registry.scan(root) == right


def test_a_run_that_has_not_changed_is_not_read_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = registry.scan(root)
    read = list[str]()
    whole = registry.read_row

    def noted(folder: Path, path: str, held: bool) -> Row:
        read.append(path)
        return whole(folder, path, held)

    monkeypatch.setattr(registry, "read_row", noted)
    assert registry.scan(root) == right
    assert not read
    change(root / "a" / "b" / "2", host="other")
    assert row_of(root, "2").host == "other"
    assert read == ["a/b/2"]


def test_removed_and_new_runs(root: Path) -> None:
    registry.scan(root)
    shutil.rmtree(root / "a" / "b" / "1")
    write_run(root / "a" / "new" / "9", seed=0, lr=0.1, value=1.0)
    assert [row.path for row in registry.scan(root)] == ["a/b/2", "a/b/3", "a/new/9"]
    settle(root)
    registry.scan(root)
    assert "a/b/1" not in (root / registry.INDEX).read_text()


def test_a_folder_that_cannot_be_written_has_no_index(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("genlab.files.new_file", refuse)
    assert len(registry.scan(root)) == 3
    assert len(registry.settings(root, registry.scan(root))) == 3
    assert not (root / registry.INDEX).exists()


def test_several_at_once_agree_and_leave_a_right_index(root: Path) -> None:
    program = f"""
from genlab.runs import registry
for _ in range(20):
    rows = registry.scan({str(root)!r})
    registry.settings({str(root)!r}, rows)
    assert sorted(row.id for row in rows) == ["1", "2", "3"], rows
"""

    def watch() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor() as pool:
        children = [pool.submit(watch) for _ in range(2)]
        for k in range(40):
            change(root / "a" / "b" / "2", host=str(k))
            settle(root / "a" / "b" / "2")
            if k % 5 == 0:
                (root / registry.INDEX).unlink(missing_ok=True)
            assert row_of(root, "2").host == str(k)
            time.sleep(0.01)
    for child in children:
        assert not child.result().stderr
    assert row_of(root, "2").host == "39"
    assert not list(root.glob(".*.tmp"))


def test_settings_are_those_of_the_recipe_and_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = registry.scan(root)
    found = registry.settings(root, rows)
    assert found["a/b/1"]["model.optimizer.lr"] == 0.1
    assert found["a/b/1"]["model"] == "Classifier"
    assert found["a/b/2"]["seed_everything"] == 1
    monkeypatch.setattr(registry, "read_groups", lambda file: {})
    assert registry.settings(root, rows) == found
    (root / "a" / "b" / "1" / "recipe.yaml").write_text("model: X\n")
    assert registry.settings(root, rows)["a/b/1"] == {}


def test_hidden_folders_links_and_damaged_runs(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "a" / "b" / "1", root / "a" / ".hidden")
    (root / "link").symlink_to(root / "a")
    (root / "a" / "b" / "1" / "recipe.yaml").write_text("model: [")
    (root / "a" / "b" / "2" / "run.json").write_text("{")
    (root / "a" / "b" / "2" / "metrics.json").write_text(json.dumps({"step": "x", "val/loss": {}}))
    (root / "a" / "b" / "3" / "metrics.csv").write_bytes(b"\xff\x00\nstep")
    rows = registry.scan(root)
    assert {row.path for row in rows} == {"a/b/1", "a/b/2", "a/b/3"}
    assert registry.scan(tmp_path / "nowhere") == []


@pytest.mark.parametrize("name", ["pictures", "links", "evaluations", "wandb", "nonfinite"])
def test_files_in_every_folder_of_a_run_count(root: Path, name: str) -> None:
    run = root / "a" / "b" / "1"
    (run / name).mkdir(exist_ok=True)
    settle(root)
    before = row_of(root, "1").size
    (run / name / "new").write_bytes(b"x" * 5_000_000)
    assert row_of(root, "1").size == before + 5_000_000
    settle(root)
    assert row_of(root, "1").size == before + 5_000_000


def test_a_change_in_place_is_seen_though_the_time_is_put_back(root: Path) -> None:
    file = root / "a" / "b" / "1" / "metrics.json"
    one = file.stat()
    text = file.read_text()
    assert row_of(root, "1").best == 0.0
    with file.open("r+") as stream:
        stream.write(text.replace('"best/val/loss": 0.0', '"best/val/loss": 9.0'))
    os.utime(file, ns=(one.st_atime_ns, one.st_mtime_ns))
    assert file.stat().st_size == one.st_size
    assert row_of(root, "1").best == 9.0
