"""Whole forgeries: files and hashes agree, and still they are refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from genlab.training.proof import files
from genlab.training.verify import verify
from tests.training.proof.forging import BEST, BOOK, LAST, forge_hashes, in_json, in_weight

pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches")


@pytest.fixture
def run(linked_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(linked_run, tmp_path / "run"))


@pytest.mark.slow
def test_a_best_checkpoint_left_out_of_the_ends_is_compared(run: Path) -> None:
    in_weight(BEST)(run)
    forge_hashes(run)
    in_json("links/files.json", lambda c: c["ends"].pop("best.ckpt"))(run)
    assert verify(run, spot=1, seed=0).faults == [
        "links/files.json does not tell the state of best.ckpt"
    ]
    found = verify(run, full=True).faults
    assert any(fault.startswith("best.ckpt of step 40: another state") for fault in found)


def test_only_an_end_can_be_the_checkpoint_of_the_test(run: Path) -> None:
    shutil.copy(run / LAST, run / "checkpoints/step-00000040.ckpt")
    in_json("metrics.json", lambda c: c.update(test_checkpoint="step-00000040.ckpt"))(run)
    forge_hashes(run)
    assert verify(run, spot=1, seed=0).faults == [
        "metrics.json: test_checkpoint is step-00000040.ckpt, neither best.ckpt nor last.ckpt"
    ]


def test_another_machine_is_never_accepted(run: Path) -> None:
    """The name of the processor is the forger's to choose: it disarms the comparison of bits."""

    def change(content: dict[str, Any]) -> None:
        content["machine"]["processor"] = "Imaginary 9000"
        for one in content["links"]:
            one["later"] = "0" * 64

    in_json(BOOK, change)(run)
    files.seal(run)
    report = verify(run, spot=1, seed=0)
    assert report.faults == []
    assert report.trained == 1
    assert report.verdict == "no fault"
    assert not any("probability" in line for line in report.unproved)
