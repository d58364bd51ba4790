"""``genlab laws``: a line a law, the measured difference, exit code 1 when one fails."""

from __future__ import annotations

import json

import pytest

from genlab.cli import laws as command
from genlab.testing import LAWS, Finding
from tests.conftest import Here

pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_line_a_law(here: Here) -> None:
    out, _ = here("laws", "simclr/digits", "model.temperature=0.2")
    lines = [line.split() for line in out.splitlines()]
    assert [words[1] for words in lines] == list(LAWS)
    assert {words[0] for words in lines} == {"ok", "-"}
    assert float(lines[0][2]) < 1e-6
    assert not here.runs()


def test_a_broken_law_is_exit_code_one(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    from genlab.testing import laws

    def unfair(case: object, ranks: object) -> Finding:
        return Finding("unfair", False, 0.25, "everywhere")

    monkeypatch.setattr(laws, "LAWS", {"unfair": unfair})
    out, _ = here("laws", "vae/digits", code=1)
    assert out.split() == ["FAILS", "unfair", "0.25", "everywhere"]
    found = json.loads(here("laws", "vae/digits", "--json", code=1)[0])
    assert found[0]["difference"] == 0.25
    assert command.line(Finding("x", True)) == "ok    x"


def test_more_processes(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    from genlab.testing import Case, laws

    def share(case: Case, ranks: object) -> Finding:
        whole = len(case.batches[0]["index"])
        return Finding("share", whole % 4 == 0 and whole % 3 == 0, float(case.worlds[0]))

    monkeypatch.setattr(laws, "LAWS", {"share": share})
    assert here("laws", "vae/digits", "--world", "4")[0].split() == ["ok", "share", "4"]
    for world in ("1", "33"):
        _, err = here("laws", "vae/digits", "--world", world, code=2)
        assert err == f"genlab: --world {world} must be from 2 to 32\n"


def test_wrong_input_is_two_lines(here: Here) -> None:
    _, err = here("laws", "vae/digts", code=2)
    assert "vae/digits" in err
    assert len(err.splitlines()) <= 3
