"""Servers that lie, stall or answer with something else: a reason in seconds, and nothing left."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from genlab.checkpoints.foreign import download as module
from genlab.checkpoints.foreign import fetching
from genlab.checkpoints.foreign.download import locked
from genlab.errors import CheckpointError, DiskError
from tests.full_disk import FullDisk

OK = b"HTTP/1.1 200 OK\r\n"
GOOD = OK + b"Content-Length: 4\r\n\r\nPK\3\4"
Answer = Callable[[bytes], None]


def endless(start: bytes, block: bytes, pause: float) -> Callable[[Answer], None]:
    def answer(send: Answer) -> None:
        send(start)
        for _ in range(10_000):
            send(block)
            time.sleep(pause)

    return answer


ANSWERS: dict[str, tuple[bytes | Callable[[Answer], None], str]] = {
    "broken status line": (b"HTTP/9 what\r\n\r\n", ""),
    "not HTTP": (b"220 ftp ready\r\n", ""),
    "no answer": (b"", ""),
    "200 headers": (OK + b"".join(b"X-%d: 1\r\n" % k for k in range(200)) + b"\r\n", "headers"),
    "a long header": (OK + b"X: " + b"a" * 70_000 + b"\r\n\r\n", "header line"),
    "a broken chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n", ""),
    "a torn chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nabc\r\n", ""),
    "a length that is a word": (OK + b"Content-Length: abc\r\n\r\nPK", "invalid literal"),
    "a negative length": (OK + b"Content-Length: -4\r\n\r\nPK", "announces -4 bytes"),
    "a length beyond the disk": (OK + b"Content-Length: 99999999999999999\r\n\r\nPK", "has room"),
    "a login page": (OK + b"\r\n <html>please log in", "a web page: a login"),
    "an empty answer": (OK + b"\r\n", "the answer is empty"),
    "a byte a second": (endless(OK + b"\r\nPK", b"x", 0.05), "bytes a second"),
    "an endless answer": (endless(OK + b"\r\nPK", b"x" * 9000, 0), "does not end"),
    "a redirect to a file": (b"HTTP/1.1 302 F\r\nLocation: file:///etc/passwd\r\n\r\n", ""),
}


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "SLOW", 0.3)
    monkeypatch.setattr(module, "LEAST", 300)
    monkeypatch.setattr(module, "MOST", 100_000)


@pytest.fixture
def server() -> Iterator[SimpleNamespace]:
    """A server that gives one answer to whatever is asked."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    state = SimpleNamespace(url=f"http://127.0.0.1:{port}/weights.pth", answer=GOOD)

    def talk(one: socket.socket) -> None:
        with one, suppress(OSError):
            asked = one.recv(4096)
            if asked.startswith(b"HEAD"):
                one.sendall(OK + b"\r\n")
            elif callable(state.answer):
                state.answer(one.sendall)
            else:
                one.sendall(state.answer)

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield state
    listening.close()


def left(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.rglob("*") if file.is_file() and not is_lock(file))


def is_lock(file: Path) -> bool:
    return file.suffix == ".lock"


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_server_that_fails_is_refused_and_leaves_nothing(
    kind: str, server: SimpleNamespace, tmp_path: Path
) -> None:
    server.answer, reason = ANSWERS[kind]
    start = time.monotonic()
    with pytest.raises(CheckpointError) as error:
        fetching.fetch(server.url)
    assert time.monotonic() - start < 8
    assert reason in str(error.value)
    assert str(error.value).startswith(server.url)
    assert "\n" not in str(error.value)
    assert left(tmp_path) == []
    server.answer = GOOD
    assert fetching.fetch(server.url).file.read_bytes() == b"PK\3\4"


def test_a_page_in_the_cache_is_fetched_again(server: SimpleNamespace) -> None:
    file = fetching.fetch(server.url).file
    file.write_text("<html>kept by an older genlab")
    assert fetching.fetch(server.url).file.read_bytes() == b"PK\3\4"


def test_a_full_disk_is_the_machines_fault(server: SimpleNamespace, tmp_path: Path) -> None:
    disk = FullDisk(tmp_path, fails=3)
    with disk.mounted(), pytest.raises(OSError, match="No space left") as error:
        fetching.fetch(server.url)
    assert not isinstance(error.value, CheckpointError | DiskError)
    assert left(tmp_path) == []


def test_whoever_waits_says_so_and_what_the_dead_left_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "weights.pth"
    (tmp_path / ".weights.pth.77.tmp").write_text("half")
    (tmp_path / ".weights.pth.78.partial").mkdir()
    (tmp_path / ".weights.pth.lock").touch()
    with (tmp_path / ".weights.pth.lock").open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        threading.Timer(0.2, lambda: fcntl.flock(other, fcntl.LOCK_UN)).start()
        with locked(target):
            assert os.listdir(tmp_path) == [".weights.pth.lock"]
    assert "waiting for another process that fetches weights.pth" in capsys.readouterr().err


def test_a_planted_lock_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("text")
    (tmp_path / ".weights.pth.lock").symlink_to(tmp_path / "theirs")
    with pytest.raises(CheckpointError, match="symbolic links"), locked(tmp_path / "weights.pth"):
        pass
    assert (tmp_path / "theirs").read_text() == "text"
