"""metrics.csv is appended to, widened and cut back, and never lost."""

from __future__ import annotations

from pathlib import Path

from genlab.training.tracking.csv_log import CSVLog


def steps(log: CSVLog) -> list[str]:
    return [row["step"] for row in log.rows()]


def test_new_metrics_become_columns_and_old_rows_stay(tmp_path: Path) -> None:
    log = CSVLog(tmp_path / "m.csv")
    log.log_metrics({"a": 1.0}, 0)
    log.log_metrics({"a": 2.0, "b": 3.0}, 1)
    rows = log.rows()
    assert rows[0] == {"step": "0", "a": "1.0", "b": ""}
    assert rows[1] == {"step": "1", "a": "2.0", "b": "3.0"}


def test_a_new_logger_appends_to_the_file(tmp_path: Path) -> None:
    CSVLog(tmp_path / "m.csv").log_metrics({"a": 1.0}, 0)
    CSVLog(tmp_path / "m.csv").log_metrics({"a": 2.0}, 1)
    assert steps(CSVLog(tmp_path / "m.csv")) == ["0", "1"]


def test_cut_drops_what_the_resumed_run_repeats_and_a_torn_row(tmp_path: Path) -> None:
    log = CSVLog(tmp_path / "m.csv")
    for step in range(5):
        log.log_metrics({"a": float(step)}, step)
    with (tmp_path / "m.csv").open("a") as file:
        file.write("5,0.")
    log.cut(3)
    assert steps(log) == ["0", "1", "2"]
    log.log_metrics({"a": 9.0}, 3)
    assert steps(log) == ["0", "1", "2", "3"]


def test_cutting_everything_leaves_an_empty_table_that_can_grow(tmp_path: Path) -> None:
    log = CSVLog(tmp_path / "m.csv")
    log.cut(0)
    log.log_metrics({"a": 1.0}, 0)
    log.cut(0)
    assert log.rows() == []
    log.log_metrics({"b": 2.0}, 0)
    assert log.rows() == [{"step": "0", "b": "2.0"}]
