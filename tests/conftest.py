"""Shared fixtures: threads, data on disk, and the comparison of one process with two."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: forks and programs then compute the same bits
gc.disable()  # of a million objects that modules make none is garbage

import torch  # noqa: E402

from genlab.testing.ranks import Ranks  # noqa: E402
from tests import forks  # noqa: E402

gc.freeze()
atexit.register(gc.unfreeze)  # a library tells of every object that is left at the end
gc.enable()
torch.set_num_threads(1)  # tests run side by side; two threads of two programs fight for cores


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew", action="store_true", help="write the golden losses anew")
    parser.addoption("--device", choices=("cuda", "cpu"), default="cuda", help="of tests/gpu")


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """The same random numbers for every test; a training in this process may hold back signals."""
    torch.manual_seed(0)
    os.environ.pop("PL_GLOBAL_SEED", None)  # of a training in this process
    os.environ.pop("COLUMNS", None)  # a width is a terminal's, or a test's own
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with real MNIST, Fashion-MNIST and CIFAR-10 as torchvision lays them out."""
    root = os.environ.get("GENLAB_DATA")
    if not root or not Path(root, "MNIST").is_dir():
        pytest.skip("GENLAB_DATA does not name a folder with MNIST")
    return Path(root)


@pytest.fixture(scope="session")
def ranks() -> Iterator[Ranks]:
    """Processes that train together, one set for all tests of this process."""
    pool = Ranks()
    yield pool
    pool.close()


class TwoRanks:
    """Runs ``module:function(rank, world) -> tensors`` on one process and on two gloo ranks."""

    def __init__(self, pool: Ranks) -> None:
        self.pool = pool

    def results(self, program: str) -> tuple[Any, list[Any]]:
        """The one-process result, and those of the two ranks."""
        return self.pool.run(program, 1)[0], self.pool.run(program, 2)

    def assert_same(self, program: str, atol: float = 1e-6) -> None:
        """Every tensor equal within ``atol`` on one process and on both ranks."""
        one, two = self.results(program)
        for rank, result in enumerate(two):
            try:
                torch.testing.assert_close(result, one, rtol=0, atol=atol)
            except AssertionError as error:
                raise AssertionError(f"rank {rank}: {error}") from None


@pytest.fixture
def two_ranks(ranks: Ranks) -> TwoRanks:
    return TwoRanks(ranks)


class Shell:
    """Runs the command in a folder of its own, as a user does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """The command, started as a program of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "genlab", *words],
            cwd=self.folder,
            env=self.environment(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def anew(self, *words: str, code: int = 0, **environment: str) -> tuple[str, str]:
        """As a call, in a program of its own: for what depends on how it starts or ends (W&B)."""
        process = self.start(*words, **environment)
        out, err = process.communicate(timeout=forks.LIMIT)
        return self._checked(words, code, process.returncode, out, err)

    def __call__(self, *words: str, code: int = 0, **environment: str) -> tuple[str, str]:
        """Standard output and error of a command that must end with ``code``; it is forked."""
        with tempfile.TemporaryDirectory() as folder:
            said = Path(folder)
            end = forks.run(words, self.folder, self.environment(environment), said)
            out, err = ((said / name).read_text() for name in ("out", "err"))
        return self._checked(words, code, end, out, err)

    def environment(self, added: dict[str, str]) -> dict[str, str]:
        """The variables of a command: those of the tests, and ``added``."""
        keep = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        return keep | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"} | added

    def _checked(
        self, words: tuple[str, ...], code: int, end: int, out: str, err: str
    ) -> tuple[str, str]:
        assert end == code, f"genlab {' '.join(words)}: {end}\n{out}\n{err}"
        return out, err

    def runs(self) -> list[Path]:
        """All run directories of the folder."""
        return sorted(p.parent for p in (self.folder / "runs").glob("**/recipe.yaml"))


def give_back_memory() -> None:
    """Return what is free to the system: a training keeps it, and the next makes holes of it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


class Here(Shell):
    """Runs the command inside this process: seconds faster, for what ends before training."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        super().__init__(folder)
        self.capture = capture

    def __call__(self, *words: str, code: int = 0, **environment: str) -> tuple[str, str]:
        """Standard output and error of a command that must end with ``code``."""
        from genlab.cli import main

        self.capture.readouterr()
        with pytest.raises(SystemExit) as end:
            main(list(words))
        give_back_memory()
        out, err = self.capture.readouterr()
        assert (end.value.code or 0) == code, f"genlab {' '.join(words)}: {end.value}\n{out}\n{err}"
        return out, err


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    monkeypatch.chdir(tmp_path)
    return Here(tmp_path, capsys)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of vae/digits, made once; look, do not change."""
    shell = Shell(tmp_path_factory.mktemp("digits"))
    shell("fit", "vae/digits", "trainer.max_epochs=2", "track.wandb=off")  # 42 steps
    return shell.runs()[0]
