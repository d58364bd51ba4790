"""Parts by the names of files and folders: links, folders before files, what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from genlab.data.files.named_parts import files_by_part


def made(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def found(root: Path) -> dict[str, list[str]]:
    parts = files_by_part(root, (".tar",))
    return {part: [str(file.relative_to(root)) for file in files] for part, files in parts.items()}


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    made(tmp_path / "elsewhere", "a/0.tar")
    root = made(tmp_path / "set", "test/0.tar")
    (root / "train").symlink_to(tmp_path / "elsewhere")
    assert found(root) == {"test": ["test/0.tar"], "train": ["train/a/0.tar"]}


def test_what_a_link_leads_to_again_counts_once(tmp_path: Path) -> None:
    root = made(tmp_path, "version-1/0.tar")
    (root / "latest").symlink_to("version-1")
    assert found(root) == {"train": ["version-1/0.tar"]}
    (root / "train").symlink_to("version-1")
    assert found(root) == {"train": ["train/0.tar"]}


def test_a_link_back_is_told_and_not_followed(tmp_path: Path) -> None:
    root = made(tmp_path, "train/0.tar")
    (root / "train" / "up").symlink_to("..")
    with pytest.warns(UserWarning, match="1 links lead back .*; first: .*train/up"):
        assert found(root) == {"train": ["train/0.tar"]}


def test_a_folder_that_is_a_parts_name_decides_before_the_files_name(tmp_path: Path) -> None:
    root = made(tmp_path, "train/unit-test-0.tar", "train/b/val-0.tar", "val/train-0.tar")
    assert found(root) == {
        "train": ["train/b/val-0.tar", "train/unit-test-0.tar"],
        "val": ["val/train-0.tar"],
    }


def test_files_that_are_left_out_are_counted(tmp_path: Path) -> None:
    root = made(tmp_path, "train-0.tar", "part-1.tar", "part-2.tar")
    with pytest.warns(UserWarning, match=r"2 files are left out, .*; first: part-1\.tar"):
        assert found(root) == {"train": ["train-0.tar"]}
