"""Git, asked in checkouts whose settings are somebody else's."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from genlab.training.provenance import git


def call(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one changed file."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    call(folder, "init", "-q")
    (folder / "a.py").write_text("a = 1\n")
    call(folder, "add", ".")
    call(folder, "commit", "-qm", "first")
    (folder / "a.py").write_text("a = 2\n")
    return folder


def with_filter(checkout: Path, name: str, mark: Path, key: str = "clean") -> None:
    """Settings and attributes that let git run a program over the changed file."""
    (checkout / ".gitattributes").write_text(f"*.py filter={name}\n")
    with (checkout / ".git" / "config").open("a") as file:
        file.write(f'[filter "{name}"]\n\t{key} = "touch {mark}; cat"\n\trequired = true\n')


@pytest.mark.parametrize("name", ["bad", "a=b", "=", "a.b=c.d", "a=b.clean", "ä=\\"])
@pytest.mark.parametrize("key", ["clean", "process"])
def test_no_filter_of_a_checkout_runs(checkout: Path, tmp_path: Path, name: str, key: str) -> None:
    mark = tmp_path / "MARK"
    written = name.replace("\\", "\\\\")
    with_filter(checkout, written, mark, key)
    (checkout / ".gitattributes").write_text(f"*.py filter={name}\n")
    assert b"+a = 2" in git.diff(checkout)
    assert not mark.exists()
    subprocess.run(["git", "diff", "HEAD"], cwd=checkout, capture_output=True)  # the control
    assert mark.exists()


def test_a_filter_without_a_name_does_not_run(checkout: Path, tmp_path: Path) -> None:
    with_filter(checkout, "", tmp_path / "MARK")
    with suppress(git.GitError):  # if git takes no setting against it
        git.diff(checkout)
    assert not (tmp_path / "MARK").exists()


def test_settings_of_the_environment_stay(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark, own = tmp_path / "MARK", tmp_path / "OWN"
    with_filter(checkout, "a=b", mark)
    with (checkout / ".git" / "info" / "attributes").open("w") as file:
        file.write("own.txt filter=own\n")
    (checkout / "own.txt").write_text("o\n")
    call(checkout, "add", "own.txt")
    (checkout / "own.txt").write_text("p\n")
    mark.unlink(missing_ok=True)  # of the commands above
    for key, value in {"COUNT": "1", "KEY_0": "filter.own.clean",
                       "VALUE_0": f"touch {own}; cat"}.items():  # fmt: skip
        monkeypatch.setenv(f"GIT_CONFIG_{key}", value)
    assert git.diff(checkout)
    assert own.exists()
    assert not mark.exists()


def test_no_difference_where_the_filters_are_unknown(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of ``git config`` is no answer "no filters"."""
    mark = tmp_path / "MARK"
    with_filter(checkout, "bad", mark)
    started = git.subprocess.Popen

    def failing(command: list[str], **rest: object) -> object:
        command = ["--unknown" if word == "--show-scope" else word for word in command]
        return started(command, **rest)  # type: ignore[call-overload]

    monkeypatch.setattr(git.subprocess, "Popen", failing)
    with pytest.raises(git.GitError):
        git.diff(checkout)
    assert not mark.exists()


def test_no_difference_by_a_git_that_reads_no_settings_of_the_environment(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "MARK"
    with_filter(checkout, "bad", mark)
    monkeypatch.setattr(git, "_sealed", lambda settings, sealed=git._sealed: sealed(()))
    with pytest.raises(git.GitError):
        git.diff(checkout)
    assert not mark.exists()
