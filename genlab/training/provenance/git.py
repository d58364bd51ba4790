"""Git, asked without starting a program, a hook or a connection that a folder's settings name."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Sequence
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
FILTER = re.compile(r"filter\.(.*)\.(?:clean|process)", re.DOTALL)
OWN = {"command", "global", "system"}  # scopes of settings that are the user's, not a checkout's
TOLD = "genlab.told"  # a setting that shows whether git reads settings of the environment
Settings = Sequence[tuple[str, str]]


class GitError(Exception):
    """Git gives no answer; the text is the reason, empty where there is no repository."""


class TooMuch(GitError):
    """The answer is longer than wanted."""


def ask(
    folder: Path,
    *words: str,
    most: int = 64 * MOST,
    settings: Settings = (),
    codes: tuple[int, ...] = (0,),
) -> bytes:
    """The output of a git command.

    Args:
        folder: working directory of the command.
        words: the command.
        most: largest number of bytes.
        settings: settings of git for this command, before those of all files.
        codes: exit codes of a command that has done its work.

    Raises:
        GitError: no git, an error, more bytes, or longer than `SECONDS`.
    """
    try:
        started = subprocess.Popen(
            ["git", *QUIET, *words], cwd=folder, env=_sealed(settings), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except OSError:
        raise GitError("") from None
    found = _read(started, most)
    if started.returncode not in codes:
        raise GitError("")
    return found


def _sealed(settings: Settings) -> dict[str, str]:
    """The environment of git, with settings added to those that it has already."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("GIT_") or key.startswith("GIT_CONFIG")
    }
    known = kept.get("GIT_CONFIG_COUNT", "")
    start = int(known) if known.isdecimal() else 0
    for number, (key, value) in enumerate(settings, start):
        kept |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    count = {"GIT_CONFIG_COUNT": str(start + len(settings))} if settings else {}
    return kept | count | SEALED


def _read(started: subprocess.Popen[bytes], most: int) -> bytes:
    """All that git prints, in time and in bounds."""
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
    without = _unfiltered(folder)
    return ask(folder, "diff", *FULL, *PLAIN, "HEAD", most=MOST, settings=without)


def _unfiltered(folder: Path) -> Settings:
    """Settings against the programs that a repository's own settings run over files.

    They are told by the environment: a name with ``=`` in it cannot follow ``-c``.

    Raises:
        GitError: git doesn't say which programs there are, or doesn't take these settings.
    """
    listing = ("config", "--show-scope", "--name-only", "-z", "--get-regexp", r"^filter\.")
    told = os.fsdecode(ask(folder, *listing, codes=(0, 1))).split("\0")  # 1: there are none
    pairs = [
        (FILTER.fullmatch(key), scope) for scope, key in zip(told[::2], told[1::2], strict=False)
    ]
    names = dict.fromkeys(found[1] for found, scope in pairs if found and scope not in OWN)
    if not names:
        return ()
    ends = (("clean", ""), ("process", ""), ("required", "false"))
    settings = [(f"filter.{name}.{end}", value) for name in names for end, value in ends]
    settings.append((TOLD, "true"))
    ask(folder, "config", "--get", TOLD, settings=settings)  # before 2.31 git doesn't read them
    return settings


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
