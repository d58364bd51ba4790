"""What a run remembers, read again after a crash."""

from __future__ import annotations

from pathlib import Path

from genlab.training import record


def test_the_last_validation_is_found_though_the_last_row_is_torn(tmp_path: Path) -> None:
    text = "step,train/loss,val/loss,val/accuracy\n3,1.5,,\n3,,0.9,0.5\n7,1.25,0.7,\n11,1.0,0."
    (tmp_path / "metrics.csv").write_text(text)
    assert record.last_validation(tmp_path) == {"val/loss": 0.7, "val/accuracy": 0.5}
    assert record.last_validation(tmp_path / "nothing") == {}
