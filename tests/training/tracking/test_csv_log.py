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


def test_the_next_row_drops_what_the_resumed_run_repeats_and_a_torn_row(tmp_path: Path) -> None:
    log = CSVLog(tmp_path / "m.csv")
    for step in range(5):
        log.log_metrics({"a": float(step)}, step)
    with (tmp_path / "m.csv").open("a") as file:
        file.write("5,0.")
    log.keep(None, 3)
    assert [row["step"] for row in log.kept()] == ["0", "1", "2"]
    assert log.count == 3
    log.log_metrics({"a": 9.0}, 3)
    assert steps(log) == ["0", "1", "2", "3"]


def test_dropping_everything_leaves_an_empty_table_that_can_grow(tmp_path: Path) -> None:
    log = CSVLog(tmp_path / "m.csv")
    log.keep(None, 0)
    log.log_metrics({"a": 1.0}, 0)
    log.keep(0, 0)
    assert log.kept() == []
    log.log_metrics({"b": 2.0}, 0)
    assert log.rows() == [{"step": "0", "b": "2.0"}]


def test_rows_are_kept_by_their_number_and_tests_behind_them_if_wanted(tmp_path: Path) -> None:
    log = CSVLog(tmp_path / "m.csv")
    log.log_metrics({"val/loss": 3.0}, 4)
    log.log_metrics({"train/pseudo_accuracy": 0.5}, 4)  # of the same step, after the checkpoint
    log.log_metrics({"test/loss": 2.0}, 5)
    before = (tmp_path / "m.csv").read_bytes()
    for tests, left in ((False, ["4"]), (True, ["4", "5"])):
        again = CSVLog(tmp_path / "m.csv")
        again.keep(1, 5, tests=tests)
        assert [row["step"] for row in again.kept()] == left
        assert again.count == len(left)
    assert (tmp_path / "m.csv").read_bytes() == before  # nothing is dropped before there is a row
    again.log_metrics({"val/loss": 1.0}, 9)
    assert [row["val/loss"] for row in again.rows()] == ["3.0", "", "1.0"]


def test_a_file_that_is_deleted_under_a_run_begins_anew(tmp_path: Path) -> None:
    log = CSVLog(tmp_path / "m.csv")
    for step in range(3):
        log.log_metrics({"a": float(step)}, step)
    log.file.unlink()
    log.log_metrics({"a": 3.0}, 3)
    log.log_metrics({"a": 4.0, "b": 5.0}, 4)
    assert steps(CSVLog(log.file)) == ["3", "4"]
    assert log.count == 2
