"""Output that nobody reads ends no training, and other commands quietly."""

from __future__ import annotations

import io
import os
import re
import select
import sys
import warnings
from collections.abc import Sequence
from threading import Thread

import pytest

from genlab import runs
from genlab.cli import main, streams
from tests import forks
from tests.conftest import Shell


def unread(shell: Shell, *words: str) -> tuple[int, str]:
    """A command whose standard output and error are pipes, closed after the first line of one."""
    pipes = {name: shell.folder / name for name in ("out", "err")}
    for pipe in pipes.values():
        os.mkfifo(pipe)
    readers = {name: os.open(pipe, os.O_RDONLY | os.O_NONBLOCK) for name, pipe in pipes.items()}
    first: list[str] = []

    def read() -> None:
        while not first:
            ready, _, _ = select.select(readers.values(), (), (), 1)
            first.extend(filter(None, (os.read(one, 80).decode() for one in ready)))
        for one in readers.values():
            os.close(one)

    thread = Thread(target=read)
    thread.start()
    code = forks.run(words, shell.folder, shell.environment({}), shell.folder)
    thread.join()
    return code, first[0]


def test_training_goes_on_when_its_output_is_closed(shell: Shell) -> None:
    code, first = unread(
        shell, "fit", "vae/digits", "trainer.max_epochs=2", "track.wandb=off",
        "trainer.log_every_n_steps=1",
    )  # fmt: skip
    assert (code, first[:10]) == (0, "vae/digits")
    (run,) = shell.runs()
    assert runs.read_json(run / "metrics.json")["step"] == 40
    assert (run / "checkpoints" / "last.ckpt").is_file()


def test_other_commands_end_as_any_program_does(shell: Shell) -> None:
    assert unread(shell, "ls")[0] == streams.CLOSED_PIPE


def test_a_closed_pipe_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with streams.lasting():
            print("seen")
            assert os.read(reader, 100) == b"seen\n"
            os.close(reader)
            for _ in range(3):
                print("not seen")
        print("nor this", file=stream, flush=True)


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_what_a_terminal_cannot_show_is_spelt(monkeypatch: pytest.MonkeyPatch, errors: str) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, "ascii", errors))
    with pytest.raises(SystemExit):
        main(["ls", "no such recipe"])
    print("0.97 ± 0.01 → \udcff", flush=True)
    assert shown.getvalue().splitlines()[-1] == b"0.97 +- 0.01 \\u2192 \xff"


def test_help_is_printed_on_an_ascii_terminal(shell: Shell) -> None:
    out, _ = shell.anew("--help", PYTHONIOENCODING="ascii")
    assert "mean +- sd" in out


def test_warnings_are_lines_without_source(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn(words: Sequence[str]) -> int:
        warnings.warn("the file does not say its network", UserWarning, 1)
        warnings.warn("overflow", RuntimeWarning, 1)
        return 0

    monkeypatch.setattr("genlab.cli.run", warn)
    before = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.raises(SystemExit):
            main(["test"])
    first, second = capsys.readouterr().err.splitlines()
    assert first == "warning: the file does not say its network"
    assert re.fullmatch(r"warning: RuntimeWarning: overflow \(.*test_streams\.py:\d+\)", second)
    assert warnings.showwarning is before
