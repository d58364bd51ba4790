"""Metrics that no file of the run tells, or that tell another story."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.training.proof import files
from genlab.training.proof.report import Report
from genlab.training.verify import verify
from tests.training.proof.forging import BEST, LAST, final, forge_hashes, in_json

pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches")


@pytest.fixture
def run(linked_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(linked_run, tmp_path / "run"))


def checked(run: Path) -> Report:
    """Findings in files alone: nothing is trained again."""
    report = Report()
    files.check(run, report)
    return report


def better(run: Path, **metrics: float) -> None:
    """Other metrics of the selected state, told alike by checkpoint and metrics.json."""
    content = torch.load(run / BEST, weights_only=True)
    kept: dict[str, Any] = next(
        v for k, v in content["callbacks"].items() if k.startswith("Checkpoints")
    )
    kept["best"]["metrics"] |= {f"val/{k}": v for k, v in metrics.items()}
    torch.save(content, run / BEST)
    in_json("metrics.json", lambda c: c.update({f"best/val/{k}": v for k, v in metrics.items()}))(
        run
    )


def test_an_honest_run_has_no_fault(run: Path) -> None:
    assert checked(run).faults == []


def test_metrics_of_the_selected_state_are_those_of_the_table(run: Path) -> None:
    better(run, kl=1e-6, knn_top1=1.0)
    forge_hashes(run)
    found = checked(run).faults
    assert any(fault.startswith("best.ckpt: val/kl is 1e-06, metrics.csv says") for fault in found)
    assert "best.ckpt: val/knn_top1 is 1.0, metrics.csv says None" in found


@pytest.mark.slow
def test_metrics_of_the_selected_state_are_those_of_training_again(run: Path) -> None:
    """Within the table's rounding, too."""
    content = torch.load(run / BEST, weights_only=True)
    state = next(v for k, v in content["callbacks"].items() if k.startswith("Checkpoints"))
    better(run, kl=state["best"]["metrics"]["val/kl"] * (1 + 1e-9))
    forge_hashes(run)
    assert checked(run).faults == []
    assert any(fault.startswith("best.ckpt: val/kl is") for fault in verify(run, full=True).faults)


@pytest.mark.parametrize("key", ["val/knn_top1", "best/val/knn_top1", "accuracy"])
def test_an_invented_metric_is_a_fault(key: str, run: Path) -> None:
    final(key, 1.0)(run)
    forge_hashes(run)
    assert checked(run).faults == [f"metrics.json: {key} is told by no other file of the run"]


def test_an_evaluation_is_that_of_its_file(run: Path) -> None:
    final("evaluate/fid_inception", 0.5)(run)
    report = checked(run)
    assert report.faults == [
        "metrics.json: evaluate/fid_inception is 0.5, evaluations/ says otherwise"
    ]
    assert "evaluate/* in metrics.json: they were not measured again" in report.unproved


def test_a_state_selected_before_other_settings_keeps_its_own(run: Path) -> None:
    """Its stamp has the settings of the start that selected it."""
    change = {"step": 40, "changes": {"trainer.max_epochs": [3, 2]}}
    in_json("run.json", lambda c: c["history"].append(c["history"][0] | change))(run)
    content = torch.load(run / BEST, weights_only=True)
    content["genlab"]["recipe"]["trainer"]["max_epochs"] = 3
    torch.save(content, run / BEST)
    forge_hashes(run)
    assert not any("written under other settings" in fault for fault in checked(run).faults)
    content = torch.load(run / LAST, weights_only=True)
    content["genlab"]["recipe"]["trainer"]["max_epochs"] = 3
    torch.save(content, run / LAST)
    assert any("last.ckpt was written under other" in fault for fault in checked(run).faults)
