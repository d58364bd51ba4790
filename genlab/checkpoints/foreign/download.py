"""Download of one file, whole or not at all, by one process of a machine at a time."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import shutil
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from genlab.errors import CheckpointError, fault_of, reason
from genlab.files import replacing

TIMEOUT = 30  # seconds without an answer
SLOW = 60  # seconds in which at least `LEAST` bytes must come
LEAST = 60_000
MOST = 32 * 2**30  # bytes of a file whose size the server does not tell


def download(url: str, target: Path, digest: str = "") -> None:
    """Fetch a file from the web; it appears only when it is whole.

    Args:
        url: http(s) address.
        target: the file, in a folder that exists.
        digest: beginning of the SHA-256 that it must have.

    Raises:
        OSError: no such file, a connection that broke or stalls, a web page, an empty, an endless
            or a changed file.
        http.client.HTTPException: an answer that is not HTTP.
        ValueError: a length that is not a number.
    """
    question = request(url)
    with replacing(target) as partial, urllib.request.urlopen(question, timeout=TIMEOUT) as answer:
        announced = answer.headers.get("Content-Length")
        size = None if announced is None else int(announced)
        _check_room(size, target)
        found, checksum = _copy(answer, partial, MOST if size is None else size)
        if size is not None and found != size:
            raise OSError(f"the connection broke after {found} of {size} bytes")
        if not checksum.startswith(digest):
            raise OSError(f"its SHA-256 is {checksum[:12]}..., not {digest}...")


def request(url: str, method: str = "GET") -> urllib.request.Request:
    """The request for an address; its ``user:password@`` goes to its own server alone.

    Args:
        url: http(s) address, its user and password in percent-encoding or as they are.
        method: ``GET`` or ``HEAD``.
    """
    parts = urllib.parse.urlsplit(url)
    user, at, server = parts.netloc.rpartition("@")
    bare = urllib.parse.urlunsplit(parts._replace(netloc=server))
    found = urllib.request.Request(bare, headers={"User-Agent": "genlab"}, method=method)
    if at:
        name, _, password = user.partition(":")
        pair = ":".join(map(urllib.parse.unquote, (name, password)))
        code = base64.b64encode(pair.encode()).decode()
        found.add_unredirected_header("Authorization", f"Basic {code}")
    return found


def _copy(answer: Any, partial: Path, most: int) -> tuple[int, str]:
    """Write an answer to a file; returns its size and SHA-256."""
    checksum, done = hashlib.sha256(), 0
    since, before = time.monotonic(), 0
    with partial.open("wb") as file:
        while block := answer.read1(1 << 20):
            if not done:
                _refuse_page(block)
            checksum.update(block)
            done += file.write(block)
            if done > most:
                raise OSError(f"the answer does not end: more than {most:,} bytes")
            if time.monotonic() - since > SLOW:
                if done - before < LEAST:
                    raise OSError(f"the server sends less than {LEAST // SLOW} bytes a second")
                since, before = time.monotonic(), done
    if not done:
        raise OSError("the answer is empty")
    return done, checksum.hexdigest()


def _refuse_page(start: bytes) -> None:
    if start.lstrip()[:1] == b"<":
        raise OSError("the server answers with a web page: a login, or an error")


def is_page(file: Path) -> bool:
    """True if a file begins like a web page."""
    with file.open("rb") as stream:
        return stream.read(64).lstrip()[:1] == b"<"


def _check_room(size: int | None, target: Path) -> None:
    free = shutil.disk_usage(target.parent).free
    if size is not None and size < 0:
        raise ValueError(f"the server announces {size} bytes")
    if size is not None and size > free:
        raise OSError(f"it has {size:,} bytes, the disk of {target.parent} has room for {free:,}")


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """One process of this machine at a time; the others find the file when they come in.

    What a killed process has left is removed.

    Raises:
        CheckpointError: the folder cannot be written, or the lock is a link.
    """
    lock = target.with_name(f".{target.name}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if fault_of(error) is not None:
            raise
        raise CheckpointError(f"cannot open {lock}: {reason(error)}") from None
    try:
        _wait(handle, target)
        for left in [*target.parent.glob(f".{target.name}.*.tmp")]:
            left.unlink(missing_ok=True)
        for left in target.parent.glob(f".{target.name}.*.partial"):
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(handle)


def _wait(handle: int, target: Path) -> None:
    with suppress(OSError):  # no locks there: whoever is last renames the same content
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that fetches {target.name}", file=sys.stderr)
            fcntl.flock(handle, fcntl.LOCK_EX)
