"""Studies: rows by discovery, one search for all, cells shared by processes, a page at the end."""

from __future__ import annotations

import json
import multiprocessing
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab import recipes
from genlab.cli import study as study_command
from genlab.errors import RecipeError
from genlab.experiments import cell_work
from genlab.experiments.studies import table as tables
from genlab.experiments.studies import timing
from genlab.experiments.studies.cells import Cell, Cells
from genlab.experiments.studies.effort import left
from genlab.experiments.studies.margins import margins
from genlab.experiments.studies.page import missing, page
from genlab.experiments.studies.paired import summed_up
from genlab.experiments.studies.rows import self_supervised
from genlab.recipes.resolution import lineage
from tests.conftest import Here, Shell

SMALL = """\
title: Two methods
run: genlab study run small.yaml
---
recipes: [digits]
settings: [data.batch_size=64, data.val_size=200]
encoder: [model.encoder=small_cnn, 'model.encoder_kwargs={width: 4}']
budget: {images: 128}
seeds: [0, 1]
methods: [simclr, rotation, jigsaw]
search:
  scale: {model.optimizer.lr: [0.5, 1]}
  own: {simclr: 'model.temperature=0.2,0.5'}
  other: {model.optimizer.weight_decay: [1]}
probe: {draws: 2}
inner: true
baselines: {rotation: 68.2}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    return file


def cells_of(file: Path, **keys: Any) -> Cells:
    other = file.parent / "other" / file.name  # a run's id has the name of the file
    other.parent.mkdir(exist_ok=True)
    lines = [f"{key}: {json.dumps(value)}" for key, value in keys.items()]
    other.write_text("\n".join(["title: x", "---", "config: ../small.yaml", *lines]) + "\n")
    return Cells(tables.read(str(other)), file.parent / "runs")


def measured(cells: Cells, cell: Cell, value: float) -> None:
    cells.folder.mkdir(parents=True, exist_ok=True)
    keys = [f"{split}/{one}" for split in ("val", "test") for one in ("linear 1%", "knn")]
    cells.keep(cell, dict.fromkeys(keys, value + cell.seed / 100) | {"seconds": 2.0})


def test_a_cell_of_an_edited_recipe_is_another(small: Path) -> None:
    cells = cells_of(small)
    row = next(one for one in cells.rows if one.key == "simclr")
    model = dict(row.config["model"])
    edited = model | {"init_args": model["init_args"] | {"temperature": 0.123}}
    turned = dict(reversed(list(row.config.items())))
    before, again, after = (
        cells.searches(replace(row, config=config))[0].name
        for config in (row.config, turned, {**row.config, "model": edited})
    )
    assert before == again != after
    elsewhere = {**row.config, "track": {"runs": "elsewhere"}, "seed_everything": 9}
    assert cells.searches(replace(row, config=elsewhere))[0].name == before


def test_every_method_whose_recipe_extends_the_base_is_a_row() -> None:
    found = self_supervised()
    assert {"simclr": "method", "rotation": "pretext"}.items() <= found.items()
    for method in {name.partition("/")[0] for name in recipes.shipped()}:
        files = [f for name, f in recipes.shipped().items() if name.startswith(f"{method}/")]
        extends = any(path.name == "self_supervised.yaml" for f in files for path, _ in lineage(f))
        assert (method in found) == extends


@pytest.mark.parametrize("name", sorted(tables.shipped()))
def test_shipped_studies_search_six_trials_of_every_row(name: str, tmp_path: Path) -> None:
    cells = Cells(tables.read(name), tmp_path)
    rows = [row for row in cells.searched.rows if row.trained and not row.lacking]
    assert rows
    assert {len(row.trials) for row in rows} == ({6} if cells.searched.table.search else {0})
    for row in rows if cells.searched.table.search else []:
        assert len({repr(words) for words in row.trials}) == 6
        recipe = recipes.resolve([row.recipe], [*row.words, *row.trials[-1]])
        if row.kind != "peer":
            recipes.check_keys(recipe)


def test_convolutional_methods_have_one_encoder_and_the_untrained_one_is_a_row(
    small: Path,
) -> None:
    cells = cells_of(small, row_settings={"simclr": ["data.val_size=100"]})
    found = {row.key: row for row in cells.rows}
    assert [found[key].value("data.val_size") for key in ("rotation", "simclr")] == [200, 100]
    assert list(found) == ["raw pixels", "untrained small_cnn", "jigsaw", "rotation", "simclr"]
    assert "no recipe jigsaw/digits" in missing(cells)["jigsaw"]
    for key in ("simclr", "rotation"):
        assert found[key].value("model.encoder_kwargs") == {"width": 4}
        assert cells.steps(found[key]) == 2
    assert found["simclr"].trials == [
        [f"model.optimizer.lr={lr}", f"model.temperature={t}"]
        for lr in ("0.001", "0.002")
        for t in ("0.2", "0.5")
    ]


def test_every_encoder_as_it_is_drawn_is_a_row(small: Path) -> None:
    found = [row.key for row in cells_of(small, methods=["mae", "rotation", "simmim"]).rows]
    drawn = [key for key in found if key.startswith("untrained")]
    assert drawn == ["untrained small_cnn", "untrained encoder of mae"]


def test_a_row_may_have_seconds_of_its_own(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = cells_of(small, budget={"seconds": 10}, row_seconds={"simclr": 30}, search=None)
    monkeypatch.setattr(timing, "cpu_seconds", lambda row, steps: 5 + 0.1 * steps)
    assert study_command._bench(cells, 50) == 0
    assert tables.read(str(cells.table.file)).steps == {"rotation": 100, "simclr": 300}
    assert "10 CPU seconds (simclr 30) a run" in page(cells)


def test_validation_selects_among_all_trials_and_only_then_there_are_seeds(small: Path) -> None:
    cells = cells_of(small)
    row = next(one for one in cells.rows if one.key == "simclr")
    trials = cells.searches(row)
    for number, cell in enumerate(trials[:-1]):
        measured(cells, cell, [0.5, 0.8, 0.6][number])
    assert cells.selected(row) is None
    assert not cells.seeds(row)
    cells.folder.mkdir(parents=True, exist_ok=True)
    cells.keep(trials[-1], {"failed": "loss is not finite"})
    assert cells.selected(row) == row.trials[1]
    assert [cell.seed for cell in cells.seeds(row)] == [0, 1]
    assert all(word in cells.seeds(row)[0].words for word in row.trials[1])


def test_other_settings_are_other_runs_and_another_probe_measures_anew(small: Path) -> None:
    before = cells_of(small)
    measured(before, before.searches(before.rows[-1])[0], 0.5)
    probed = cells_of(small, probe={"draws": 3})
    names = [[cell.name for cell in one.searches(one.rows[-1])] for one in (before, probed)]
    assert names[0] == names[1]
    assert not probed.ended(probed.searches(probed.rows[-1])[0])
    longer = cells_of(small, budget={"images": 640})
    assert not set(names[0]) & {cell.name for cell in longer.searches(longer.rows[-1])}


def test_settings_of_another_table_are_its_selected_ones(small: Path) -> None:
    cells = cells_of(small)
    row = cells.rows[-1]
    for number, cell in enumerate(cells.searches(row)):
        measured(cells, cell, number / 10)
    other = small.with_name("other.yaml")
    other.write_text(f"title: x\n---\nconfig: small.yaml\nsearch: null\nsettings_of: {small}\n")
    longer = Cells(tables.read(str(other)), cells.root)
    assert longer.selected(longer.rows[-1]) == row.trials[-1]
    assert not longer.searches(longer.rows[-1])
    assert "no settings are selected" in missing(longer)["rotation"]


def _hold(cells: Cells, cell: Cell, ready: Any, done: Any) -> None:
    with cells.held(cell) as mine:
        assert mine
        ready.set()
        done.wait(30)


def test_a_cell_that_another_process_works_on_is_left_to_it(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = cells_of(small, methods=["simclr"], seeds=[0], untrained=False)
    took: list[str] = []
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    first = cells.all()[0]
    other = context.Process(target=_hold, args=(cells, first, ready, done))
    other.start()
    assert ready.wait(30)

    def does(cells: Cells, cell: Cell) -> int:
        took.append(cell.name)
        measured(cells, cell, len(took) / 10)
        return 0

    def wakes(_: float) -> None:
        assert first.name not in took
        done.set()
        other.join()

    monkeypatch.setattr(cell_work, "_do", does)
    monkeypatch.setattr("time.sleep", wakes)
    assert cell_work.work(cells) == 0
    assert took[-2] == first.name  # at last, and then the seed
    assert sorted(took) == sorted(cell.name for cell in cells.all())


@pytest.mark.parametrize("code", [130, 143, -9])
def test_a_training_that_a_signal_ended_has_not_failed(
    small: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = cells_of(small, methods=["simclr"], untrained=False)
    first = cells.all()[0]
    cells.folder.mkdir(parents=True)
    monkeypatch.setattr(cell_work, "run_all", lambda tasks: [code])
    assert cell_work._do(cells, first) == cell_work.STOPPED
    assert not cells.ended(first)


def test_the_page_has_means_differences_and_what_is_missing(small: Path) -> None:
    cells = cells_of(small, methods=["simclr"], untrained=False, inner=False, notes={"simclr": "N"})
    row = cells.rows[0]
    for cell in cells.searches(row):
        measured(cells, cell, 0.5)
    assert "- simclr: 2 runs to do" in page(cells)
    assert "Of 1 rows 1 are missing or not complete" in page(cells)
    for cell in cells.seeds(row):
        measured(cells, cell, 0.9)
    text = page(cells)
    assert "| simclr (N) | 90.5 ± 0.7 | - | 90.5 ± 0.7 | - | 2 | 2.0 ± 0.0 | 2 |" in text
    assert "issing" not in text
    assert "`model.temperature=0.2`" in text


def test_results_beside_a_page_take_part_elsewhere(
    here: Here,
) -> None:
    """And a page never drops results that stand beside it."""
    (here.folder / "t.yaml").write_text(SMALL.replace("[simclr, rotation, jigsaw]", "[simclr]"))
    cells = Cells(tables.read(str(here.folder / "t.yaml")), here.folder / "runs")
    for cell in cells.all():
        measured(cells, cell, 0.123456789)
    for cell in cells.all():  # of the seeds, whose settings are now selected
        measured(cells, cell, 0.123456789)
    here("study", "page", "t.yaml", "--out", "pages/t.md")  # it makes the folder
    written = json.loads((here.folder / "pages/t.json").read_text())
    assert list(written) == [cell.name for cell in cells.all()]
    assert next(iter(written.values()))["test/knn"] == 0.123457
    before = (here.folder / "pages/t.md").read_text()
    elsewhere = ("study", "page", "t.yaml", "--runs-in", "none")
    _, err = here(*elsewhere, "--out", "pages/t.md", code=2)
    assert f"{len(written)} results in pages/t.json are of no cell of this page" in err
    out, _ = here(*elsewhere, "--known", "pages")
    assert before.startswith(out.rstrip("\n") + " --out pages/t.md\n")
    assert before.endswith("\nEvery result of every trial and seed: [t.json](t.json).\n")
    out, _ = here("study", "run", "t.yaml", "--runs-in", "none", "--known", "pages")
    assert not (here.folder / "none").exists()
    (here.folder / "pages/t.json").write_text("[]")
    _, err = here(*elsewhere, "--known", "pages", code=2)
    assert "results are not a mapping of cells" in err


def test_results_of_a_checkout_are_shown_without_being_named(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of another library too where it is not installed."""
    monkeypatch.setattr("genlab.experiments.studies.rows.find_spec", lambda name: None)
    table = tables.read("fair_table/digits")
    cells = Cells(table, small.parent, study_command.published_results(None))
    lacking = missing(cells)
    keys = [row.key for row in cells.rows]
    assert "simclr" not in lacking
    assert "lightly/simclr" in keys
    assert "lightly/simclr" not in lacking
    assert "lightly/rotation" not in keys
    assert lacking["lightly"] == "lightly is not installed: pip install lightly"
    without = Cells(table, small.parent, study_command.published_results("none"))
    assert missing(without)["simclr"] == "6 trials and 5 runs to do"
    assert "lightly/simclr" not in [row.key for row in without.rows]


def test_the_work_that_is_left_has_hours(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = cells_of(
        small, budget={"seconds": 720}, steps={"simclr": 2}, methods=["simclr"], search=None
    )
    study_command._show(cells)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "720 CPU seconds a run, 2 seeds a row"
    assert shown[-1] == "to do: 5 runs, about 0.4 hours of training"  # 2 of simclr
    for cell in cells.all():
        measured(cells, cell, 0.5)
    assert left(cells) == ""
    images = cells_of(small, methods=["simclr"], untrained=False)
    assert left(images) == "to do: 4 trials and 2 runs"  # nobody knows how long images take


def test_margins_are_points_above_the_same_encoder_untrained_and_raw_pixels(small: Path) -> None:
    cells = cells_of(small, methods=["simclr"], inner=False)
    pixels, drawn, row = cells.rows
    for cell in cells.searches(row):
        measured(cells, cell, 0.5)
    for one, value in ((pixels, 0.6), (drawn, 0.7), (row, 0.9)):
        for cell in cells.seeds(one):
            measured(cells, cell, value)
    (found,) = margins(cells)
    spread = 1 / 2**0.5  # of 70 and 71
    assert found.row == "simclr"
    assert found.untrained == pytest.approx(20)
    assert found.deviations == pytest.approx(20 / spread)
    assert found.raw == pytest.approx(90.5 - 60)
    assert "| simclr | +20.0 | +28.3 | +30.5 |" in page(cells)


def test_the_interval_is_student_s() -> None:
    found = summed_up("other", "test/knn", {"a": [1.0, 2.0], "b": [3.0, 4.0]})
    assert found is not None
    assert (found.mean, found.pairs, found.by_row) == (2.5, 4, {"a": 1.5, "b": 3.5})
    assert found.low == pytest.approx(2.5 - 3.182446305 * 1.290994449 / 2)
    assert summed_up("other", "test/knn", {}) is None


def test_steps_have_two_digits_and_are_written_into_the_file(small: Path) -> None:
    assert [timing.rounded(x) for x in (1249.0, 87.6, 3.2, 0.2)] == [1200, 88, 3, 1]
    for steps in ({"simclr": 1}, {"simclr": 120, "moco": 7}):
        tables.write_steps(tables.read(str(small)), steps)
        assert tables.read(str(small)).steps == steps
    assert small.read_text().startswith(SMALL)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seeds: [0, 1]", "seeds: [0, 0]", "seeds is not a list of different numbers"),
        ("budget: {images: 128}", "budget: {hours: 1}", "budget is not"),
        ("inner: true", "row_seconds: {simclr: 9}", "row_seconds requires a budget of seconds"),
        ("methods:", "metods:", "did you mean methods"),
        ("recipes: [digits]\n", "", "requires recipes"),
        ("search:", "search:\n  select: linear 3%", "columns are knn, linear all, linear 1%"),
        ("inner: true", "settings_of: x", "search cannot be combined with settings_of"),
    ],
)
def test_wrong_tables_are_refused(small: Path, old: str, new: str, said: str) -> None:
    small.write_text(SMALL.replace(old, new))
    with pytest.raises(RecipeError, match=re.escape(said)):
        tables.read(str(small))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "fair_table/digit"), "did you mean fair_table/digits"),
        (("run",), "study run requires a STUDY"),
        (("run", "fair_table/digits", "--rows", "simclrr"), "unknown row simclrr"),
        (("bench", "fair_table/digits_images"), "bench requires a budget of seconds"),
    ],
)
def test_wrong_words_start_nothing(here: Here, words: tuple[str, ...], said: str) -> None:
    _, err = here("study", *words, code=2)
    assert said in err
    assert not (here.folder / "runs").exists()


@pytest.mark.slow
def test_a_killed_study_goes_on_and_its_page_is_whole(shell: Shell) -> None:
    (shell.folder / "small.yaml").write_text(SMALL)
    words = ("study", "run", "small.yaml", "--rows", "raw pixels,untrained small_cnn,rotation")
    folder = shell.folder / "runs/studies/small"
    with shell.start(*words) as process:
        while len(list(folder.glob("*.json"))) < 2:
            assert process.poll() is None
            time.sleep(0.1)
        process.kill()
    kept = {file: file.stat().st_mtime_ns for file in folder.glob("*.json")}
    shell(*words)
    assert all(file.stat().st_mtime_ns == time for file, time in kept.items())
    out, _ = shell("study", "page", "small.yaml")
    assert re.search(r"\| untrained small_cnn(, inner layer)? \| \d+\.\d ± ", out)
    assert re.search(r"\| rotation(, inner layer)? \| \d+\.\d ± .* \| 2 \|", out)
    assert re.search(r"\| rotation \| task_accuracy \| 0\.\d+ \| 68\.2 \|", out)
    figures = json.loads(next(folder.glob("*rotation-t0*.json")).read_text())
    assert not [key for key in figures if key.startswith("test/")]  # trials see no test image


def test_the_probe_of_few_labels_is_the_mean_over_draws() -> None:
    from genlab.evaluation.probes import fixed_probe
    from genlab.metrics import Bank

    torch.manual_seed(0)
    label = torch.arange(200) % 2
    bank = Bank(torch.randn(200, 3) + 2.0 * label[:, None], label, torch.arange(200))
    whole = fixed_probe(bank, bank, 1.0, 1e-3)
    assert whole > 0.9
    assert fixed_probe(bank, bank, 200, 1e-3) == whole
    single = [fixed_probe(bank, bank, 0.05, 1e-3, draws=1, seed=k) for k in range(3)]
    assert len(set(single)) > 1
    assert fixed_probe(bank, bank, 10, 1e-3, draws=3) == pytest.approx(sum(single) / 3)
    with pytest.raises(ValueError, match="must be 2 to 200"):
        fixed_probe(bank, bank, 201, 1e-3)


def test_raw_pixels_and_the_untrained_encoder_need_no_training(small: Path) -> None:
    cells = cells_of(small, methods=["rotation"], probe={"draws": 2}, seeds=[0])
    cells.rows = [row for row in cells.rows if not row.trained]
    assert cell_work.work(cells) == 0
    pixels, drawn = (cells.figures(cells.seeds(row)[0]) for row in cells.rows)
    assert pixels["test/knn"] > 0.9  # 97.7 % of all labels
    assert drawn["test/linear all"] > drawn["test/linear 1%"] > 0.2
    assert drawn["test/linear 1% inner"] != drawn["test/linear 1%"]
    assert not [key for key in pixels if key.endswith("inner")]
    assert missing(cells) == {}
    assert "| raw pixels |" in page(cells)
