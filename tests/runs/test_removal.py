"""Removal and archives of runs: nothing else goes, and nothing is lost."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from genlab import runs
from genlab.errors import RunError
from genlab.runs import archives, removal
from tests.full_disk import FullDisk
from tests.no_locks import without_locks
from tests.run_folders import write_run

NAME = "a/b/1"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a checkpoint, and links into and out of its folder."""
    path = write_run(tmp_path / "runs" / NAME, seed=0, lr=0.1, value=1.0)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("kept")
    (path / "checkpoints" / "last.ckpt").write_bytes(os.urandom(100_000))
    os.link(path / "checkpoints" / "last.ckpt", path / "checkpoints" / "best.ckpt")
    (path / "wandb").mkdir()
    (path / "wandb" / "out").symlink_to(tmp_path / "precious")
    (path / "checkpoints" / "in.ckpt").symlink_to("last.ckpt")
    os.mkfifo(path / "pipe")
    return path


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock" and not path.is_symlink()
    }


def test_a_run_goes_whole_and_nothing_that_its_links_lead_to(run: Path, tmp_path: Path) -> None:
    removal.delete(tmp_path / "runs", NAME)
    assert not list((tmp_path / "runs").rglob("*"))
    assert (tmp_path / "runs").is_dir()
    assert (tmp_path / "precious" / "file").read_text() == "kept"


@pytest.mark.parametrize("act", [removal.delete, archives.archive])
def test_a_run_that_trains_is_refused(
    act: Callable[[Path, str], object], run: Path, tmp_path: Path
) -> None:
    before = contents(run)
    with runs.lock(run), pytest.raises(RunError, match="in use by process"):
        act(tmp_path / "runs", NAME)
    assert contents(run) == before


@pytest.mark.parametrize("act", [removal.delete, archives.archive])
def test_without_locks_a_run_that_may_train_is_refused(
    act: Callable[[Path, str], object], run: Path, tmp_path: Path
) -> None:
    before = contents(run)
    here = os.uname().nodename
    gone = subprocess.Popen(["true"])
    gone.wait()
    with without_locks():
        runs.lock(run).close()
        assert (run / ".lock").read_text() == f"process {os.getpid()} on {here}\n"
        for owner in (None, "", f"process {gone.pid} on {here}x\n", "process 0 on x\n"):
            if owner is not None:
                (run / ".lock").write_text(owner)
            with pytest.raises(RunError, match="may be training: its file system has no locks"):
                act(tmp_path / "runs", NAME)
        assert contents(run) == before
        (run / ".lock").write_text(f"process {gone.pid} on {here}\n")
        act(tmp_path / "runs", NAME)
    assert not run.exists()


@pytest.mark.parametrize("name", ["link/b/1", "../runs/a/b/1x", "a/b", "a/b/../../../precious"])
def test_links_and_paths_that_lead_elsewhere_are_refused(
    run: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "runs" / "a")
    with pytest.raises(RunError):
        removal.delete(tmp_path / "runs", name)
    assert (run / "recipe.yaml").is_file()
    assert (tmp_path / "precious" / "file").is_file()


def test_a_removal_that_was_killed_is_completed_by_the_next(run: Path, tmp_path: Path) -> None:
    write_run(run.with_name("2"), seed=0, lr=0.1, value=1.0)
    os.rename(run, run.with_name(f"{removal.LEAVING}1"))
    removal.delete(tmp_path / "runs", "a/b/2")
    assert not list((tmp_path / "runs").iterdir())


def test_an_archive_holds_the_run_and_gives_it_back(run: Path, tmp_path: Path) -> None:
    before, times = contents(run), (run / "recipe.yaml").stat().st_mtime
    file = archives.archive(tmp_path / "runs", NAME)
    assert sorted(path.name for path in run.parent.iterdir()) == ["1.tar.gz", "1.tar.gz.sha256"]
    noted = (run.parent / "1.tar.gz.sha256").read_text()
    assert noted == f"{hashlib.sha256(file.read_bytes()).hexdigest()}  1.tar.gz\n"
    assert archives.restore(file) == run
    assert contents(run) == before
    assert (run / "checkpoints" / "in.ckpt").readlink() == Path("last.ckpt")
    assert not (run / "wandb" / "out").is_symlink()  # what it led to was not of the run
    assert int((run / "recipe.yaml").stat().st_mtime) == int(times)
    assert [path.name for path in run.parent.iterdir()] == ["1"]


def test_an_archive_that_is_not_what_was_written_keeps_the_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(run)
    whole = archives._contents
    monkeypatch.setattr(archives, "_contents", lambda file: whole(file) | {"1/recipe.yaml": "0"})
    with pytest.raises(RunError, match="was not written right"):
        archives.archive(tmp_path / "runs", NAME)
    assert contents(run) == before
    assert [path.name for path in run.parent.iterdir()] == ["1"]


def test_a_full_disk_keeps_the_run(run: Path, tmp_path: Path) -> None:
    before = contents(run)
    disk = FullDisk(run.parent, fails=1)
    with disk.mounted(), pytest.raises(OSError, match="No space left"):
        archives.archive(tmp_path / "runs", NAME)
    assert contents(run) == before
    assert [path.name for path in run.parent.iterdir()] == ["1"]


def test_nothing_is_replaced(run: Path, tmp_path: Path) -> None:
    file = archives.archive(tmp_path / "runs", NAME)
    write_run(run, seed=1, lr=0.1, value=1.0)
    with pytest.raises(RunError, match="is there already"):
        archives.archive(tmp_path / "runs", NAME)
    with pytest.raises(RunError, match="is there already"):
        archives.restore(file)
    assert (run / "recipe.yaml").is_file()
    assert file.is_file()


def test_a_damaged_archive_is_refused(run: Path, tmp_path: Path) -> None:
    file = archives.archive(tmp_path / "runs", NAME)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(RunError, match="another checksum"):
        archives.restore(file)
    (run.parent / "1.tar.gz.sha256").unlink()
    with pytest.raises(RunError, match="is damaged"):
        archives.restore(file)
    assert [path.name for path in run.parent.iterdir()] == ["1.tar.gz"]


@pytest.mark.parametrize("name", ["../out", "/etc/x", "1/../../out", "2/recipe.yaml", "1"])
def test_a_foreign_archive_writes_nothing_elsewhere(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "runs" / "a" / "b"
    folder.mkdir(parents=True)
    with tarfile.open(folder / "1.tar.gz", "w:gz") as tar:
        for link, target in (("1/dir", "../../.."), ("1/ok", "recipe.yaml")):
            member = tarfile.TarInfo(link)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
        member = tarfile.TarInfo(name)
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(RunError):
        archives.restore(folder / "1.tar.gz")
    assert [path.name for path in folder.iterdir()] == ["1.tar.gz"]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize("act", [removal.delete, archives.archive])
def test_two_processes_in_one_folder_do_not_hinder_each_other(
    act: Callable[[Path, str], object], tmp_path: Path
) -> None:
    for number in range(40):
        run = write_run(tmp_path / "a" / str(number), seed=0, lr=0.1, value=1.0)
        for name in range(20):
            (run / "checkpoints" / str(name)).write_bytes(b"x")
    start = multiprocessing.get_context("fork")
    errors = start.SimpleQueue()

    def work(first: int) -> None:
        for number in range(first, 40, 2):
            try:
                act(tmp_path, f"a/{number}")
            except Exception as error:
                errors.put(repr(error))

    works = [start.Process(target=work, args=(first,)) for first in (0, 1)]
    for one in works:
        one.start()
    for one in works:
        one.join()
    assert errors.empty(), errors.get()
    assert not [path for path in tmp_path.rglob("*") if path.is_dir() and path.name != "a"]


def test_a_run_that_another_process_hides_now_is_not_taken_for_left(
    run: Path, tmp_path: Path
) -> None:
    hidden = run.with_name(f"{removal.LEAVING}1.77")
    other = write_run(run.with_name("2"), seed=0, lr=0.1, value=1.0)
    with runs.lock(run):
        os.rename(run, hidden)
        removal.delete(tmp_path / "runs", "a/b/2")
        assert (hidden / "recipe.yaml").is_file()
    assert not other.exists()


@pytest.mark.parametrize("name", ["evaluations/new.json", "metrics.json", "empty/"])
def test_what_is_written_while_a_run_is_packed_is_kept(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole = archives._contents

    def late(file: Path) -> dict[str, str]:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).mkdir() if name.endswith("/") else (run / name).write_text("{}")
        return whole(file)

    monkeypatch.setattr(archives, "_contents", late)
    with pytest.raises(RunError, match="was written to while it was packed; it is kept"):
        archives.archive(tmp_path / "runs", NAME)
    assert (run / name).exists()
    assert [path.name for path in run.parent.iterdir()] == ["1"]


def test_a_run_whose_checkpoints_lie_elsewhere_is_not_archived(run: Path, tmp_path: Path) -> None:
    os.rename(run / "checkpoints", tmp_path / "scratch")
    (run / "checkpoints").symlink_to(tmp_path / "scratch")
    with pytest.raises(RunError, match="checkpoints leads out of its run"):
        archives.archive(tmp_path / "runs", NAME)
    assert (run / "checkpoints" / "last.ckpt").is_file()
    assert [path.name for path in run.parent.iterdir()] == ["1"]


@pytest.mark.parametrize(
    "links",
    [
        {"a/b/up": "../..", "leak": "a/b/up/../../../secret.txt"},
        {"leak": "a/b/up/../../../secret.txt", "a/b/up": "../.."},
        {"a/b/up": "../..", "leak": "a/b/up/../..", "leak/evil": "recipe.yaml"},
        {"leak": "../../../secret.txt"},
        {"leak": "../1/recipe.yaml"},
    ],
)
def test_no_chain_of_links_leads_out_of_a_restored_run(
    tmp_path: Path, links: dict[str, str]
) -> None:
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    with tarfile.open(folder / "1.tar.gz", "w:gz") as tar:
        for name in ("1", "1/a", "1/a/b"):
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE
            tar.addfile(member)
        tar.addfile(tarfile.TarInfo("1/recipe.yaml"))
        for name, target in links.items():
            member = tarfile.TarInfo(f"1/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    with pytest.raises(RunError, match="leads out of its run"):
        archives.restore(folder / "1.tar.gz")
    assert [path.name for path in folder.iterdir()] == ["1.tar.gz"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "secret.txt"]
