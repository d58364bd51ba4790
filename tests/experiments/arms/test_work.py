"""Runs of a study: trained once, measured, continued after a kill, diverged ones kept."""

from __future__ import annotations

import time
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from genlab import recipes, runs
from genlab.cli import questions
from genlab.errors import RecipeError
from genlab.experiments.arms import question_files, reading, work
from genlab.experiments.arms.expansion import Cell
from genlab.experiments.arms.results import Results
from genlab.experiments.arms.summary import page, plan
from genlab.experiments.arms.work import NOT_FINITE
from genlab.experiments.studies import timing
from genlab.experiments.studies.rows import Row
from tests.conftest import Shell
from tests.experiments.arms.made import MISSING, study, write

ALL = [(arm, seed) for arm in ("fast", "slow") for seed in range(5)]


def metrics_of(cell: Cell) -> dict[str, Any]:
    return {"val/accuracy": 0.8 + 0.1 * (cell.arm == "fast") + cell.seed / 100,
            "val/knn": 0.5, "seconds": 60.0, "diverged": 0.0}  # fmt: skip


def filled(place: Path, **changed: Any) -> Results:
    results = Results(study(place, **changed), place / "runs")
    results.folder.mkdir(parents=True)
    for cell in results.cells:
        results.keep(cell, metrics_of(cell))
    return results


def test_metrics_belong_to_settings_and_seed_and_not_to_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path)
    other = Results(study(tmp_path, reads=["val/accuracy"], seeds=[*range(6)]), tmp_path / "runs")
    asked: list[Cell] = []

    def do(results: Results, cell: Cell) -> int:
        asked.append(cell)
        return 1

    monkeypatch.setattr(work, "_do", do)
    assert work.work(other, ALL) == 0
    assert not asked
    assert work.work(other, [*ALL, ("slow", 5)]) == 1
    assert [(cell.arm, cell.seed) for cell in asked] == [("slow", 5)]
    more = Results(study(tmp_path, reads=["val/accuracy", "val/rank"]), tmp_path / "runs")
    assert {tuple(more.lacking(cell)) for cell in more.cells} == {("val/rank",)}
    more.keep(more.cells[0], {"val/rank": 3.0})
    assert more.metrics(more.cells[0])["val/knn"] == 0.5


def test_a_run_that_another_process_holds_is_left(tmp_path: Path) -> None:
    results = Results(study(tmp_path), tmp_path / "runs")
    with results.held(results.cells[0]) as mine, results.held(results.cells[0]) as again:
        assert (mine, again) == (True, False)


def test_a_run_that_diverged_ends_and_one_that_failed_may_be_tried_again(tmp_path: Path) -> None:
    results = Results(study(tmp_path), tmp_path / "runs")
    first, second = results.cells[:2]
    place = first.trial(results.root).run / NOT_FINITE
    place.parent.mkdir(parents=True)
    place.write_text('{"step": 7}')
    results.folder.mkdir()
    assert work._do(results, first) == 0
    assert results.metrics(first)["diverged"] == 1.0
    assert not results.lacking(first)
    results.keep(second, {"failed": "a word"})
    assert results.values()["slow"] == {}
    assert len(results.values()["fast"]) == 1
    results.forget_failed()
    assert not results.metrics(second)
    assert results.metrics(first)


def test_a_page_is_the_same_of_results_that_stand_next_to_it(tmp_path: Path) -> None:
    results = filled(tmp_path)
    place = tmp_path / "pages" / "small.md"
    place.parent.mkdir()
    assert questions.page(results, str(place)) == 0
    text = place.read_text()
    assert "Does a rate of 0.01 learn more than 0.001? **Yes**, as predicted." in text
    assert "+0.1, 95 % interval +0.1 to +0.1 (Student's t, 5 seeds)" in text
    assert "| fast | 0.92 ± 0.016 | 0.5 ± 0 | 60 ± 0 | 5 |" in text
    assert "`model.optimizer.lr=0.01`" in text
    again = Results(results.question, tmp_path / "elsewhere", place.parent)
    assert page(again, place) == text
    assert work.work(again, ALL) == 0
    changed = Results(study(tmp_path, steps=3), tmp_path / "elsewhere", place.parent)
    assert changed.values() == {"fast": {}, "slow": {}}
    with pytest.raises(RecipeError, match=r"10 results in .*small.json are of no cell"):
        questions.page(Results(results.question, tmp_path / "none"), str(place))


def test_results_of_an_edited_recipe_do_not_count_and_those_of_other_code_are_named(
    tmp_path: Path,
) -> None:
    recipe = tmp_path / "mine.yaml"
    config = (
        f"config: {recipes.root()}/classifier/digits.yaml\ndata: {{init_args: {{limit: 300}}}}\n"
    )
    recipe.write_text(config)
    results = filled(tmp_path, recipe=str(recipe))
    place = tmp_path / "pages" / "small.md"
    place.parent.mkdir()
    assert questions.page(results, str(place)) == 0

    def again() -> Results:
        return Results(results.question, tmp_path / "elsewhere", place.parent)

    assert len(again().values()["fast"]) == 5
    assert "older" not in plan(again())
    recipe.write_text("# a remark\n" + config)
    assert len(again().values()["fast"]) == 5
    recipe.write_text(config.replace("300", "301"))
    assert again().values() == {"fast": {}, "slow": {}}
    recipe.write_text(config)
    data = place.with_suffix(".json")
    prints = results.cells[0].fingerprint
    data.write_text(data.read_text().replace(prints, "0" * len(prints)))
    assert len(again().values()["fast"]) == 5
    assert "5 of 10 results next to the page are of other code" in plan(again())


def test_a_page_without_a_run_says_so(tmp_path: Path) -> None:
    text = page(Results(study(tmp_path), tmp_path / "runs"))
    assert "**Not run yet**, the prediction is open." in text
    assert "Predicted: it does (a guess)." in text
    assert "`val/accuracy of fast minus slow`: 0 of 5 seeds" in text
    assert "| arm |" not in text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val/knn", ("val", "knn", None)),
        ("test/linear 1%", ("test", "linear 1%", None)),
        ("test/linear all", ("test", "linear all", None)),
        ("test/linear 40", ("test", "linear 40", None)),
        ("val/linear all of stage 1", ("val", "linear all", "stage 1")),
        ("test/linear 1% of encoder.backbone.2", ("test", "linear 1%", "encoder.backbone.2")),
        ("val/knn_top1", None),
        ("train/rank", None),
    ],
)
def test_names_of_probes(name: str, expected: tuple[str | None, ...] | None) -> None:
    found = reading.PROBED.fullmatch(name)
    assert (found and found.groups()) == expected


def test_what_cannot_be_built_yet_is_not_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = {"fast": ["model.lr=0.01"], "slow": ["model.lr=0.001"]}
    found = study(tmp_path, recipe="vq_prior/digits", arms=arms, settings=[], equal=["images"])
    results = Results(found, tmp_path / "runs")
    with chdir(tmp_path):
        assert questions.show(results) == 0
    assert "equal      not counted: no run of vqvae/digits" in capsys.readouterr().out


def test_a_metric_that_is_not_finite_is_a_result_and_one_that_is_missing_is_none(
    tmp_path: Path,
) -> None:
    (tmp_path / "metrics.csv").write_text("step,val/rank\n7,nan\n")
    found = reading.measure(tmp_path, ["val/rank"], {}, ["val/rank"])
    assert found == {"seconds": None, "diverged": 0.0, "val/rank": None}
    with pytest.raises(RecipeError, match="val/knn_top1 is not a metric of the run"):
        reading.measure(tmp_path, ["val/rank"], {}, ["val/knn_top1"])


def test_a_study_from_the_command_line(shell: Shell) -> None:
    reads = ["val/accuracy", "val/linear 10%", "test/knn", "test/accuracy", "parameters"]
    file = write(shell.folder, reads=reads)
    out, _ = shell("study", "run", str(file), "--arms", "slow", "--seeds", "3")
    assert "slow: 2 steps, 1 of 5 runs" in out
    assert "verdict    not run yet" in out
    (kept,) = (runs.read_json(one) for one in (shell.folder / "runs/arms").glob("*.json"))
    assert kept.keys() >= {*reads, "seconds", "diverged", "fingerprint"}
    assert all(0 <= kept[name] <= 1 for name in reads[:-1])
    (csv,) = (shell.folder / "runs/classifier/digits").glob("*/metrics.csv")
    assert "test/" not in csv.read_text()  # test images are not looked at while it trains
    _, err = shell("study", "run", str(file), "--arms", "slwo", code=2)
    assert "did you mean slow" in err


@pytest.mark.slow
def test_a_killed_study_goes_on_to_the_same_metrics_and_divergence_is_kept(shell: Shell) -> None:
    arms = {"fast": ["model.lr=1e30"], "slow": ["model.lr=0.01"]}
    file = write(shell.folder, steps=300, arms=arms, reads=["val/accuracy"])
    line = ["study", "run", str(file), "--seeds", "0,1"]
    mark = "runs/classifier/digits/*s0/checkpoints/last.ckpt"
    with shell.start(*line) as process:
        while process.poll() is None and not list(shell.folder.glob(mark)):
            time.sleep(0.05)
        process.kill()
    shell(*line, "--parallel", "2")
    results = Results(question_files.read(file), shell.folder / "runs")
    found = results.values()
    assert [found["fast"][seed]["diverged"] for seed in (0, 1)] == [1.0, 1.0]
    straight = Results(results.question, shell.folder / "straight")
    assert work.work(straight, [("slow", 0), ("slow", 1)]) == 0
    for seed in (0, 1):
        pair = [one.values()["slow"][seed]["val/accuracy"] for one in (results, straight)]
        assert pair[0] == pair[1] > 0.5


def test_a_budget_is_turned_into_steps_of_each_arm_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, steps=MISSING, budget={"seconds": 10}, equal=["parameters"])
    results = Results(question_files.read(file), tmp_path / "runs")
    asked: list[tuple[str, int]] = []

    def seconds(row: Row, steps: int) -> float:
        asked.append((row.key, steps))
        assert {"fast": "model.lr=0.01", "slow": "model.lr=0.001"}[row.key] in row.words
        return 5 + steps * (0.1 if row.key == "fast" else 0.2)

    monkeypatch.setattr(timing, "cpu_seconds", seconds)
    with pytest.raises(RecipeError, match="run requires steps"):
        questions.run(results, [], [], 1, False)
    assert questions.bench(results, 50) == 0
    assert asked[0] == ("fast", timing.WARM)
    found = question_files.read(file)
    assert [arm.steps for arm in found.arms] == [100, 50]
    with pytest.raises(RecipeError, match="bench requires a budget"):
        questions.bench(Results(study(tmp_path), tmp_path), 50)
