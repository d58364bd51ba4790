"""Locks of the cache."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from genlab.data.files.cache import READING, alone, read_copies


def test_a_deleted_lock_lets_no_second_process_in(tmp_path: Path) -> None:
    """Who waits for a lock file that its holder deletes takes the new one, like later comers."""
    file, inside, most = tmp_path / "list.npz", 0, 0

    def make() -> None:
        nonlocal inside, most
        with alone(file):
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=make) for _ in range(12)]
    for thread in threads:
        thread.start()
        time.sleep(0.003)
    for thread in threads:
        thread.join()
    assert most == 1
    assert not [*tmp_path.iterdir()]


def test_locks_stay_where_outdated_copies_go(tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    for k, name in enumerate(("old.images", "old.npz", "new.images", "new.npz")):
        (folder / name).touch()
        os.utime(folder / name, (k, k))
    with alone(folder / "next.images"):
        read_copies(tmp_path)
        assert {file.name for file in folder.iterdir()} == {
            "new.images", "new.npz", "next.images.lock"
        }  # fmt: skip
    os.close(READING.pop(tmp_path))
