"""Git, asked without starting a program, a hook or a connection that a folder's settings name."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from threading import Timer

SECONDS = 5.0  # for one answer
MOST = 2**20  # bytes of a diff
QUIET = (
    "--no-pager", "--literal-pathspecs", "-c", "core.fsmonitor=", "-c", "core.hooksPath=/dev/null",
    "-c", "core.quotePath=false", "-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false",
    "-c", "diff.orderFile=/dev/null",
)  # fmt: skip
SEALED = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "LC_ALL": "C",
}
FULL = ("--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames")
PLAIN = ("-U3", "--ignore-submodules=dirty", "--submodule=short", "--src-prefix=a/",
         "--dst-prefix=b/")  # fmt: skip
FILTER = re.compile(r"(?:local|worktree)\t(filter\.[^=\n]+)\.(?:clean|process)")


class GitError(Exception):
    """Git gives no answer; the text is the reason, empty where there is no repository."""


class TooMuch(GitError):
    """The answer is longer than wanted."""


def ask(folder: Path, *words: str, most: int = 64 * MOST) -> bytes:
    """The output of a git command.

    Args:
        folder: working directory of the command.
        words: the command.
        most: largest number of bytes.

    Raises:
        GitError: no git, an error, more bytes, or longer than `SECONDS`.
    """
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("GIT_") or key.startswith("GIT_CONFIG")
    }
    try:
        started = subprocess.Popen(
            ["git", *QUIET, *words], cwd=folder, env=kept | SEALED, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except OSError:
        raise GitError("") from None
    late: list[bool] = []
    with started:
        timer = Timer(SECONDS, _end, (started, late))
        timer.start()
        try:
            assert started.stdout is not None
            found = started.stdout.read(most + 1)
            if len(found) > most:
                _end(started)
        finally:
            timer.cancel()
    if late:
        raise GitError(f"git took longer than {SECONDS:g} s")
    if len(found) > most:
        raise TooMuch(f"it has more than {most:,} bytes")
    if started.returncode:
        raise GitError("")
    return found


def _end(started: subprocess.Popen[bytes], late: list[bool] | None = None) -> None:
    """Kill git and what it has started; it only reads."""
    if late is not None:
        late.append(True)
    with suppress(OSError):
        os.killpg(started.pid, signal.SIGKILL)


def top(folder: Path) -> tuple[Path, str]:
    """The topmost folder of a checkout, and its revision.

    Raises:
        GitError: no repository, or none with a commit.
    """
    lines = os.fsdecode(ask(folder, "rev-parse", "--show-toplevel", "HEAD")).splitlines()
    if len(lines) != 2:
        raise GitError("")
    return Path(lines[0]), lines[1]


def diff(folder: Path) -> bytes:
    """The patch that makes the files of a checkout out of its revision, for ``git apply``.

    Raises:
        GitError: as `ask`; also more than `MOST` bytes.
    """
    return ask(folder, *_unfiltered(folder), "diff", *FULL, *PLAIN, "HEAD", most=MOST)


def _unfiltered(folder: Path) -> list[str]:
    """Options against the programs that a repository's own settings run over files."""
    try:
        told = ask(folder, "config", "--show-scope", "--name-only", "--get-regexp", r"^filter\.")
    except GitError:
        return []
    names = dict.fromkeys(FILTER.findall(os.fsdecode(told)))
    ends = (".clean=", ".process=", ".required=false")
    return [word for name in names for end in ends for word in ("-c", name + end)]


def unknown(folder: Path, files: list[str], folders: list[str]) -> list[str]:
    """Files that git does not know, by their paths inside a checkout.

    Args:
        folder: topmost folder of the checkout.
        files: files, also those that .gitignore names.
        folders: folders, of which files that .gitignore names are left out.

    Raises:
        GitError: as `ask`.
    """
    listed = ("ls-files", "--others", "-z")
    found = ask(folder, *listed, "--", *files) if files else b""
    found += ask(folder, *listed, "--exclude-standard", "--", *folders) if folders else b""
    return sorted({os.fsdecode(name) for name in found.split(b"\0") if name})
