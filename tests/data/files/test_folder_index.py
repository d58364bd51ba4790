from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from genlab.data.errors import BrokenDataError
from genlab.data.files import folder_index
from genlab.data.files.folder_index import index_of
from genlab.data.files.folder_scan import scan


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(folder_index, "KEPT_FROM", 3)
    root = tmp_path / "birds"
    for name in ("b/2.png", "b/1.PNG", "a/deep/3.jpg", "0.png", "note.txt", ".hidden/4.png", "c/x"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    past = 1_000_000_000
    for place, _, _ in os.walk(root):
        os.utime(place, (past, past))
    return root


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were walked, not read from the cache."""
    seen: list[str] = []
    walk = folder_index.walk

    def counted(root: str) -> Any:
        seen.append(root)
        return walk(root)

    monkeypatch.setattr(folder_index, "walk", counted)
    return seen


def names(root: Path) -> list[str]:
    return [str(file.relative_to(root)) for file in index_of(root).pictures(str(root))]


def test_order_is_a_folder_before_its_sub_folders_each_by_name(folder: Path) -> None:
    assert names(folder) == ["0.png", "a/deep/3.jpg", "b/1.PNG", "b/2.png"]
    assert index_of(folder).classes(str(folder)) == ["a", "b"]
    assert list(index_of(folder).pictures(str(folder), deep=False)) == [folder / "0.png"]


def test_a_folder_is_walked_once(folder: Path, walks: list[str]) -> None:
    first = names(folder)
    assert names(folder) == first
    assert walks == [str(folder)]


@pytest.mark.parametrize("change", ["new", "gone", "new_folder"])
def test_a_changed_folder_is_walked_again(folder: Path, walks: list[str], change: str) -> None:
    before = names(folder)
    if change == "new":
        (folder / "a" / "deep" / "9.png").touch()
    elif change == "gone":
        (folder / "b" / "2.png").unlink()
    else:
        (folder / "d").mkdir()
        (folder / "d" / "7.png").touch()
    assert names(folder) != before
    assert len(walks) == 2


def test_an_image_of_another_size_is_noticed(folder: Path, walks: list[str]) -> None:
    names(folder)
    (folder / "b" / "2.png").write_bytes(b"longer")  # which leaves the folder's time as it was
    names(folder)
    assert len(walks) == 2


def test_asked_to_it_walks_again(folder: Path, walks: list[str]) -> None:
    names(folder)
    index_of(folder, anew=True)
    assert len(walks) == 2


def test_names_of_any_bytes_and_links_to_nothing(folder: Path) -> None:
    strange = os.fsdecode(b"\xff\xfe.png")
    (folder / "a" / strange).touch()
    (folder / "a" / "z.png").symlink_to("nowhere.png")
    found = index_of(folder).pictures(str(folder / "a"))
    assert [file.name for file in found] == ["z.png", strange, "3.jpg"]
    assert [found.size(k) for k in range(3)] == [-1, 0, 0]


def test_a_folder_that_has_just_changed_is_not_kept(folder: Path, walks: list[str]) -> None:
    (folder / "b" / "new.png").touch()  # one more in the same tick would change no time
    names(folder)
    names(folder)
    assert len(walks) == 2


def test_processes_that_start_together_walk_once(folder: Path, walks: list[str]) -> None:
    threads = [threading.Thread(target=index_of, args=(folder,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert walks == [str(folder)]


@pytest.mark.parametrize("content", ["", "[]", '{"version": 1}', "{", "null"])
def test_a_damaged_index_is_made_anew(folder: Path, walks: list[str], content: str) -> None:
    expected = names(folder)
    next((folder.parent / "cache" / "genlab" / "folders").glob("*.npz")).write_text(content)
    assert names(folder) == expected
    assert len(walks) == 2


def test_without_a_cache_folder_it_walks(
    folder: Path, walks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "note.txt").write_text("a file where the cache should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "note.txt"))
    assert names(folder) == names(folder)
    assert len(walks) == 2


def test_a_small_folder_leaves_nothing_in_the_cache(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_index, "KEPT_FROM", 1000)
    names(folder)
    assert not any((folder.parent / "cache" / "genlab" / "folders").iterdir())


def test_links_in_circles_are_not_followed(folder: Path) -> None:
    """Two of them made 2^40 paths; one turned every image into many."""
    (folder / "a" / "up").symlink_to("..")
    (folder / "b" / "up").symlink_to("..")
    (folder / "b" / "self").symlink_to(".")
    (folder / "linked").symlink_to(folder / "a" / "deep")
    with pytest.warns(UserWarning, match="3 links lead back to a folder .* first: .*/a/up"):
        found = names(folder)
    assert found == ["0.png", "a/deep/3.jpg", "b/1.PNG", "b/2.png", "linked/3.jpg"]


def test_a_class_linked_to_nothing_is_refused_and_never_kept(
    folder: Path, walks: list[str]
) -> None:
    (folder / "aa").symlink_to(folder.parent / "disk" / "aa")
    os.utime(folder, (10**9, 10**9))
    with (
        pytest.warns(UserWarning, match=f"1 links lead to nothing; first: {folder}/aa"),
        pytest.raises(BrokenDataError, match="aa is a link to nothing: a class would be missing"),
    ):
        scan(folder)
    (folder.parent / "disk" / "aa").mkdir(parents=True)  # mounted: the folder does not change
    (folder.parent / "disk" / "aa" / "9.png").touch()
    assert scan(folder)[0] == ["a", "aa", "b"]
    assert len(walks) == 2


def test_a_file_linked_to_nothing_is_no_class(folder: Path) -> None:
    (folder / "README.md").symlink_to("nowhere")
    assert scan(folder)[0] == ["a", "b"]


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_part_linked_to_nothing_is_refused(tmp_path: Path, folder: Path, part: str) -> None:
    root = tmp_path / "set"
    root.mkdir()
    for name in {"train", "val", "test"} - {part}:
        (root / name).symlink_to(folder)
    (root / part).symlink_to("nowhere")
    with pytest.raises(BrokenDataError, match=f"set/{part} is a link to nothing"):
        scan(root)


def test_files_linked_as_train_and_test_are_counted(
    tmp_path: Path, folder: Path, walks: list[str]
) -> None:
    root = tmp_path / "set"
    (root / "test" / "a").mkdir(parents=True)
    (root / "train").symlink_to(folder)
    (root / "val").symlink_to(folder)
    (root / "test" / "a" / "new.png").touch()
    (root / "test" / "a" / "old.png").symlink_to(folder / "0.png")
    os.link(folder / "b" / "2.png", root / "test" / "a" / "same.png")
    text = "4 of 4 val images and 2 of 3 test images are links to training images; first: "
    for _ in range(2):  # walked, and kept
        with pytest.warns(UserWarning, match=text + str(root / "val" / "0.png")):
            scan(root)
    assert walks.count(str(root / "train")) == 1
