"""One limit over links, captures and archives of all runs: the oldest links go, archives stay."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path

import pytest

from genlab import runs
from genlab.runs import archives, limits, sizes
from tests.no_locks import without_locks
from tests.run_folders import write_run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Links of the run 1, captures of 2, links of 3, an archive of 4: each newer, 1 kB or more."""
    root = tmp_path / "runs"
    for number, folder in enumerate(("links", "nonfinite", "links"), 1):
        run = write_run(root / "a" / "b" / str(number), seed=0, lr=0.1, value=1.0)
        (run / folder).mkdir()
        (run / "checkpoints" / "last.ckpt").write_bytes(b"x" * 10_000)
        (run / folder / "step.ckpt").write_bytes(b"x" * 1000)
        os.utime(run / folder / "step.ckpt", (number * 1000, number * 1000))
    run = write_run(root / "a" / "b" / "4", seed=0, lr=0.1, value=1.0)
    (run / "checkpoints" / "last.ckpt").write_bytes(b"x" * 10_000)
    archives.archive(root, "a/b/4")
    return root


def left(root: Path) -> set[str]:
    names = ("1/links", "2/nonfinite", "3/links", "4.tar.gz", "4.tar.gz.sha256")
    return {name for name in names if (root / "a" / "b" / name).exists()}


def test_the_oldest_go_until_the_rest_has_room(root: Path) -> None:
    size = (root / "a" / "b" / "4.tar.gz").stat().st_size
    whole = 3000 + size
    assert not limits.keep_within(root, whole / 1e9)
    gone = limits.keep_within(root, (whole - 1001) / 1e9)
    assert [one.path.relative_to(root).as_posix() for one in gone] == [
        "a/b/1/links", "a/b/2/nonfinite"]  # fmt: skip
    assert left(root) == {"3/links", "4.tar.gz", "4.tar.gz.sha256"}
    limits.keep_within(root, 1e-12)
    assert left(root) == {"4.tar.gz", "4.tar.gz.sha256"}  # the only copy of its checkpoint
    assert len(list(root.rglob("last.ckpt"))) == 3  # checkpoints never go
    assert len(list(root.rglob("recipe.yaml"))) == 3
    assert not list(root.rglob(".removed-*"))


def test_links_of_a_run_that_trains_stay(root: Path) -> None:
    with runs.lock(root / "a" / "b" / "1"):
        limits.keep_within(root, 1e-12)
    assert left(root) == {"1/links", "4.tar.gz", "4.tar.gz.sha256"}


def test_only_archives_of_runs_count(root: Path) -> None:
    size = (root / "a" / "b" / "4.tar.gz").stat().st_size
    for name in ("papers.tar.gz", "data/cifar.tar.gz", "a/b/5.tar.gz"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x" * 100_000)
    (root / "a" / "b" / "5.tar.gz.sha256").write_text(f"{'0' * 64}  other.tar.gz\n")
    assert [file.name for file in sizes.archives(root)] == ["4.tar.gz"]
    assert not limits.keep_within(root, (3000 + size) / 1e9)
    limits.keep_within(root, 1e-12)
    assert len(list(root.rglob("*.tar.gz"))) == 4


def test_nothing_outside_goes(root: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "step.ckpt").write_bytes(b"x" * 5000)
    (root / "a" / "b" / "2" / "links").symlink_to(tmp_path / "precious")
    (root / "a" / "b" / "1" / "links" / "out").symlink_to(tmp_path / "precious")
    limits.keep_within(root, 1e-12)
    assert (tmp_path / "precious" / "step.ckpt").is_file()
    assert (root / "a" / "b" / "2" / "links").is_symlink()


def test_processes_that_end_at_once_remove_no_more_than_one(tmp_path: Path) -> None:
    for number in range(1, 41):
        links = write_run(tmp_path / "a" / f"{number}", seed=0, lr=0.1, value=1.0) / "links"
        links.mkdir()
        (links / "step.ckpt").write_bytes(b"x" * 1000)
        os.utime(links / "step.ckpt", (number, number))
    start = multiprocessing.get_context("fork")
    barrier = start.Barrier(3)

    def end() -> None:
        barrier.wait()
        limits.keep_within(tmp_path, 20e-6)

    ends = [start.Process(target=end) for _ in range(3)]
    for one in ends:
        one.start()
    for one in ends:
        one.join()
    left = {int(links.parent.name) for links in tmp_path.glob("a/*/links")}
    assert left == set(range(21, 41))


def test_what_another_removes_meanwhile_makes_room(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = 3000 + (root / "a" / "b" / "4.tar.gz").stat().st_size
    remove = limits._remove

    def late(folder: Path) -> bool:
        shutil.rmtree(folder)
        return remove(folder)

    monkeypatch.setattr(limits, "_remove", late)
    assert not limits.keep_within(root, (whole - 500) / 1e9)
    assert left(root) == {"2/nonfinite", "3/links", "4.tar.gz", "4.tar.gz.sha256"}


def test_without_locks_of_the_file_system_nothing_goes(root: Path) -> None:
    before = left(root)
    with without_locks():
        runs.lock(root / "a" / "b" / "1").close()
        assert not limits.keep_within(root, 1e-12)
        assert not limits._remove(root / "a" / "b" / "1" / "links")
    assert left(root) == before
