"""Runs that start from another run's network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from genlab.training.proof.origin import tell_parents
from genlab.training.proof.report import Report
from genlab.training.verify import verify
from tests.training.proof.forging import fit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


def test_a_finetuned_run_outlives_its_parent(tmp_path: Path) -> None:
    """Its start cannot be trained from, its links can."""
    parent = fit(tmp_path, "simclr/digits", trainer__max_steps=4)
    run = fit(tmp_path, "finetune/digits", trainer__max_steps=10, model__pretrained=str(parent))
    told = Report()
    assert not tell_parents(run, told)
    assert told.unproved[0].startswith(f"training of the parent simclr/digits/{parent.name} (sha")
    assert verify(run, full=True).verdict == "accepted"
    shutil.rmtree(parent)
    report = verify(run, full=True)
    assert report.faults == []
    assert report.verdict == "accepted from step 2"
    assert "the start: the file of its parent is gone" in report.unproved
