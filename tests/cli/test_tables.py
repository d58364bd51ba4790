"""Tables in narrow terminals."""

from __future__ import annotations

import pytest

from genlab import runs
from tests.conftest import Here
from tests.run_folders import write_run

PARENT = {"pretrained": {"run": "simclr/imagenet100/20261101-100000-abcd"}}


@pytest.fixture
def wide(here: Here) -> Here:
    """Two runs whose table is wide: machine, parent, metric of a judge, several settings."""
    for name, lr in (("20261102-100000-abcd", 0.1), ("20261103-100000-abcd", 0.2)):
        path = here.folder / "runs" / "linear" / "digits" / name
        more = {f"setting_{k}": lr * 10**k for k in range(6)}
        write_run(path, seed=0, lr=lr, value=3.0, **more)
        facts = runs.read_json(path / "run.json")
        runs.write_json(path / "run.json", facts | {"host": "node-17", "parents": PARENT})
        final = runs.read_json(path / "metrics.json")
        runs.write_json(path / "metrics.json", final | {"evaluate/fid_small_cnn_f599a1": 3.25})
    return here


@pytest.mark.parametrize(
    ("words", "left_out"),
    [
        (("runs",), "HOST, SIZE"),
        (("runs", "--best", "evaluate/fid:min"), "HOST, SIZE, PARENT, TIME"),
        (("runs", "du"), "STATE"),
        (("compare", "linear"), ""),
        (("compare", "linear", "--metric", "val/loss,best/val/loss,evaluate/fid"), "evaluate/fid"),
    ],
)
def test_lines_fit_the_terminal(
    wide: Here, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], left_out: str
) -> None:
    whole, said = wide(*words)
    assert "no room" not in said
    assert max(map(len, whole.splitlines())) > 90 or words[-1] == "du"
    columns = 50 if words[-1] == "du" else 80
    monkeypatch.setenv("COLUMNS", str(columns))
    out, said = wide(*words)
    rest = ("curves", "they differ", "± ", "more with")
    lines = [line for line in out.splitlines() if not line.startswith(rest)]
    assert max(map(len, lines)) <= columns
    assert f"the terminal has no room for {left_out}" in said if left_out else not said
    assert "20261102-100000-abcd" in out


def test_settings_without_room_have_lines_of_their_own(
    wide: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    out, _ = wide("compare", "linear")
    assert "\nmodel.setting_5\n  20261102-100000-abcd  10000\n" in out
