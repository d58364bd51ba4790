from __future__ import annotations

from pathlib import Path

import pytest

import genlab
from genlab.testing.field import hiding
from genlab.testing.field.hiding import without_names


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("no room in /scratch/alice", "no room in …"),
        ("/home/alice/my project/data/x.py is missing", "… is missing"),
        ("[Errno 2] No such file: '/home/alice/my project'", "[Errno 2] No such file: '…'"),
        (r"C:\Users\alice\data, ~/secret/x, ~alice/x; 3 images/s", "…, …, …; 3 images/s"),
        ("/opt/alice/lib/site-packages/torch/nn/modules/conv.py:12", "torch/nn/modules/conv.py:12"),
        ("store tcp://node17:29500 is gone", "store … is gone"),
        ("connect to 10.1.2.3:29500, [fe80::1:2], node17:29500", "connect to …, […], …"),
        ("gpu-node07.cluster.uni.de, gpu07.local", "…, …"),
    ],
)  # fmt: skip
def test_a_report_hides_paths_and_addresses(text: str, kept: str) -> None:
    assert without_names(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "torch.ops.aten.mm: 3.5/4 images / s, cuda:0",
        "float32 / bf16-mixed, torch 2.11.0, atol 1e-4",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert without_names(text) == text


def test_a_file_of_genlab_keeps_its_place() -> None:
    file = Path(genlab.__file__).parent / "methods" / "vae.py"
    assert without_names(f'File "{file}", line 3') == 'File "genlab/methods/vae.py", line 3'


def test_names_of_the_user_and_the_machine_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "node07.some.place")
    for key, name in ("USER", "alice"), ("LOGNAME", "bob1"), ("SLURMD_NODENAME", "big-gpu3"):
        monkeypatch.setenv(key, name)
    text = without_names("alice_data of bob1 on node07, big-gpu3, malice")
    assert text == f"{hiding.HIDDEN}_data of … on …, …, malice"
