"""Published tables: rows of recipes, runs before others, a page next to the papers' results."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from genlab import recipes
from genlab.errors import RecipeError, RunError
from genlab.experiments import cell_work
from genlab.experiments.tables import table as tables
from genlab.experiments.tables.cells import TableCells
from genlab.experiments.tables.identity import is_of_this_code
from genlab.experiments.tables.measuring import measure
from genlab.experiments.tables.page import missing, page
from genlab.process import ID_VARIABLE
from tests.conftest import Here, Shell
from tests.experiments.tables.made import SMALL, cells_of, measured


def trains_here(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings inside this process, which has imported torch."""

    def run_all(tasks: list[Any]) -> list[int]:
        (task,) = tasks
        with monkeypatch.context() as patch:
            patch.setenv(ID_VARIABLE, task.environment[ID_VARIABLE])
            here(*task.command[task.command.index("fit") :])
        return [0]

    monkeypatch.setattr(cell_work, "run_all", run_all)


@pytest.mark.parametrize("name", sorted(tables.shipped()))
def test_every_row_of_a_shipped_table_is_a_recipe(name: str, tmp_path: Path) -> None:
    table = tables.read(name)
    cells = TableCells(table, tmp_path)
    cells.check()
    for cell in cells.all():
        assert cell.recipe in recipes.shipped()
    assert table.head.run == f"genlab reproduce {name}"
    assert table.head.cost


def test_results_that_nobody_checked_say_so() -> None:
    """Notes have one row for two papers, and no result but those of trees from a publication."""
    for row in tables.read("binary_density").published:
        method = row.name.partition(" ")[2]
        assert method in ("Chow-Liu tree", "RAT-SPN/EiNet", "MADE", "NADE")
        assert (row.notes == "from memory, unverified") == (method != "Chow-Liu tree")


def test_tables_are_no_recipes() -> None:
    assert not [name for name in recipes.shipped() if name.startswith("tables/")]


def test_a_table_at_two_steps_a_row(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is trained, measured and written, and the second time nothing is left to do."""
    (here.folder / "small.yaml").write_text(SMALL.replace("seeds: [0, 1]", "seeds: [0]"))
    trains_here(here, monkeypatch)
    out, _ = here("reproduce", "small.yaml", "--show")
    assert re.search(r"^classifier +classifier/digits +1 of 1 runs to do$", out, re.M)
    here("reproduce", "small.yaml")
    text = (here.folder / "runs/tables/small.md").read_text()
    results = json.loads((here.folder / "runs/tables/small.json").read_text())
    assert len(results) == 2
    for cell, found in results.items():
        (run,) = (here.folder / "runs").glob(f"*/digits/{cell}")
        final = json.loads((run / "metrics.json").read_text())
        assert found["steps"] == 2
        assert found["error"] == pytest.approx(100 - 100 * final["test/accuracy"], rel=1e-4)
        assert found["cross entropy"] == pytest.approx(final["test/loss"], rel=1e-4)
        assert f"{found['error']:.1f}" in text
    assert "| few labels | `fixmatch/digits data.unlabeled_ratio=1` |" in text
    assert "| few labels | error (%) | at most 1 | no |" in text
    assert "| Theirs | 1.36 ± 0.03 | - | Them 2018, table 3 | MLP |" in text
    assert "Other code" not in text
    assert all(len(found["fingerprint"]) == 64 for found in results.values())
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(facts | {"fingerprint": "of last week"}))
    assert not is_of_this_code(run)
    monkeypatch.setattr(cell_work, "_do", None)  # not called
    here("reproduce", "small.yaml")
    assert (here.folder / "runs/tables/small.md").read_text() == text


@pytest.mark.slow
def test_a_run_is_handed_to_those_that_start_from_it(shell: Shell) -> None:
    rows = "rows:\n  prior: {recipe: vq_prior/digits, after: {model.tokenizer: vqvae/digits}}\n"
    head = SMALL.partition("columns:")[0]
    columns = "columns:\n  loss: {read: test/loss}\n  again: {read: test/loss, test: []}\n"
    (shell.folder / "small.yaml").write_text(head + columns + rows)
    shell("reproduce", "small.yaml")
    results = json.loads((shell.folder / "runs/tables/small.json").read_text())
    rows_of = [found for found in results.values() if "loss" in found]
    assert (len(results), len(rows_of)) == (4, 2)
    assert all(len(found["fingerprint"]) == 64 for found in results.values())
    for found in rows_of:
        assert found["loss"] == pytest.approx(found["again"], rel=1e-3)
    for run in (shell.folder / "runs/vq_prior/digits").iterdir():
        assert "/vqvae/digits/small-vqvae-digits-s" in (run / "recipe.yaml").read_text()


@pytest.mark.slow
def test_samples_are_compared_in_the_features_of_one_run(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = "settings: [data.val_size=200, trainer.max_steps=2]\n"
    columns = "columns:\n  FD: {read: judge/fid_small_cnn, evaluate: {samples: 64}}\n"
    rows = "rows:\n  VAE: {recipe: vae/digits}\n"
    head = "title: x\n---\nseeds: [0]\njudge: classifier/digits\n"
    (here.folder / "small.yaml").write_text(head + settings + columns + rows)
    trains_here(here, monkeypatch)
    here("reproduce", "small.yaml")
    text = (here.folder / "runs/tables/small.md").read_text()
    assert re.search(r"^\| VAE \| `vae/digits` \| \d+\.\d\d \| \d+ \| 1 \|$", text, re.M)
    assert "features of samples are those of `classifier/digits`" in text


def test_the_page_has_means_limits_and_what_is_missing(small: Path) -> None:
    cells = cells_of(small, vary=["data.split_seed"])
    first, second, third, fourth = cells.all()
    assert "data.split_seed=1" in second.words
    measured(cells, first, 2.0)
    assert missing(cells) == {
        "classifier": "1 of 2 runs to do", "few labels": "2 of 2 runs to do"
    }  # fmt: skip
    measured(cells, second, 3.0)
    measured(cells, third, 0.5)
    cells.keep(fourth, {"failed": "it broke"})
    text = page(cells)
    assert "| classifier | `classifier/digits` | 2.5 ± 0.7 | 0.25 ± 0.07 | 4 ± 1 | 2 |" in text
    assert "| few labels | `fixmatch/digits data.unlabeled_ratio=1` | 0.5 | 0.05 | 3 | 1 |" in text
    assert "| classifier | error (%) | at most 99 | yes |" in text
    assert "- few labels: 1 of 2 runs failed: it broke" in text
    assert "Of 2 rows 1 are missing or not complete" in text
    assert "seeds, which are also those of `data.split_seed`" in text
    cells.forget_failed()
    assert missing(cells) == {"few labels": "1 of 2 runs to do"}


def test_a_limit_from_below(small: Path) -> None:
    columns = {"error": {"read": "x", "better": "higher"}, "cross entropy": {"read": "y"}}
    cells = cells_of(small, columns=columns, seeds=[0])
    for cell, value in zip(cells.all(), (100.0, 0.5), strict=True):
        measured(cells, cell, value)
    text = page(cells)
    assert "| classifier | error | at least 99 | yes |" in text
    assert "| few labels | error | at least 1 | no |" in text


def test_a_row_may_have_seeds_of_its_own(small: Path) -> None:
    rows = {"few": {"recipe": "classifier/digits", "seeds": [5]}, "many": {"recipe": "vae/digits"}}
    cells = cells_of(small, rows=rows, seeds=[1, 2, 3])
    assert [[cell.seed for cell in cells.runs(key)] for key in rows] == [[5], [1, 2, 3]]
    assert "standard deviation of 1 or 3 seeds" in page(cells)
    assert "One seed" in page(cells_of(small, rows={"few": rows["few"]}, seeds=[1, 2, 3]))


def test_a_row_may_be_tested_again_in_its_own_way(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def opened(_: list[str], words: list[str]) -> Any:
        asked.append(words)
        return SimpleNamespace(model=torch.nn.Identity()), None

    monkeypatch.setattr("genlab.training.opened.open_run", opened)
    monkeypatch.setattr("genlab.training.opened.figures_of", lambda *_: {"x": float(len(asked))})
    columns = {"once": {"read": "x"}, "twice": {"read": "x", "test": ["data.limit=9"]}}
    rows = {"own": {"recipe": "classifier/digits", "test": ["model.dropout=0"]}}
    rest: dict[str, Any] = {"seeds": [0], "published": []}
    cells = cells_of(small, rows=rows, columns=columns, **rest)
    row = cells.table.rows["own"]
    assert measure(cells.table, row, small.parent) == {"once": 1, "twice": 2}
    assert asked == [["model.dropout=0"], ["data.limit=9", "model.dropout=0"]]
    plain = {"own": {"recipe": "classifier/digits"}}
    assert cells.stamp != cells_of(small, rows=plain, columns=columns, **rest).stamp
    columns["twice"] = {"read": "x", "evaluate": {}}
    with pytest.raises(RecipeError, match="test cannot be combined with evaluate"):
        cells_of(small, rows=rows, columns=columns, **rest)


def test_rows_have_the_steps_of_equal_minutes(small: Path) -> None:
    row = {"recipe": "vq_prior/digits", "after": {"model.tokenizer": "vqvae/digits"}}
    steps = {"prior": 700, "vqvae/digits": 300}
    cells = cells_of(small, rows={"prior": row}, minutes=5, steps=steps, seeds=[0])
    before, prior = cells.all()
    for cell, count in ((before, 300), (prior, 700)):
        settings = recipes.resolve([cell.recipe], cell.words).config["trainer"]
        assert (settings["max_steps"], settings["max_epochs"]) == (count, -1)
    assert "the steps of 5 CPU minutes of one core" in page(cells)
    assert "| `vq_prior/digits trainer.max_steps=700` |" in page(cells)
    for given, said in (
        ({"prior": 700}, "minutes requires steps of vqvae/digits"),
        (steps | {"pirate": 3}, "unknown row or run before rows pirate"),
    ):
        with pytest.raises(RecipeError, match=said):
            cells_of(small, rows={"prior": row}, minutes=5, steps=given)


def test_samples_are_of_a_class_or_the_row_says_that_they_are_not() -> None:
    table = tables.read("mnist_samples")
    assert table.minutes == 15
    for row in table.rows.values():
        model = recipes.resolve([row.recipe], row.settings).config["model"]
        given, keys = model["init_args"], ("conditional", "class_conditional", "condition")
        of_a_class = model["class_path"].rpartition(".")[2] in ("CVAE", "CVAEGAN")
        of_a_class |= any(given.get(key) for key in keys)
        assert of_a_class == ("without classes" not in row.notes), row.recipe


def test_runs_before_others_are_shared_and_waited_for(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"recipe": "vq_prior/digits", "after": {"model.tokenizer": "vqvae/digits"}}
    rows = {"one": row, "two": row | {"settings": ["model.dropout=0.5"]}}
    cells = cells_of(small, rows=rows, judge="classifier/digits", seeds=[3])
    judge, before, one, two = sorted(cells.all(), key=lambda cell: cell.row)
    if judge.recipe != "classifier/digits":
        judge, before = before, judge
    assert [before.recipe, one.row, two.row] == ["vqvae/digits", "one", "two"]
    order = [cell.name for cell in cells.all()]
    assert order.index(before.name) < order.index(one.name)
    assert not cells.waits(before)
    assert cells.waits(one)
    cells.folder.mkdir(parents=True)
    cells.keep(judge, {"trained": True, "seconds": 50.0})
    cells.keep(before, {"trained": True, "seconds": 10.0})
    assert not cells.waits(one)
    assert f'model.tokenizer="{cells.root}/vqvae/digits/{before.name}"' in cells.trial(one).words
    cells.keep(one, {"error": 1.0, "seconds": 5.0})
    assert cells.seconds(one) == 15.0  # all stages, without the judge
    cells.keep(before, {"failed": "no images"})
    monkeypatch.setattr(cell_work, "run_all", None)  # nothing is trained
    assert cell_work._do(cells, two) == 0
    assert cells.failure(two) == "vqvae/digits: no images"


def test_other_settings_are_other_runs_and_other_columns_other_results(small: Path) -> None:
    cells = cells_of(small)
    names = [cell.name for cell in cells.all()]
    longer = TableCells(cells.table, cells.root, None, ["trainer.max_steps=3"])
    assert not set(names) & {cell.name for cell in longer.all()}
    measured(cells, cells.all()[0], 1.0)
    assert cells.ended(cells.all()[0])
    rounded = cells_of(
        small, columns={"error": {"read": "test/f1"}, "cross entropy": {"read": "x"}}
    )
    assert [cell.name for cell in rounded.all()] == names
    assert not rounded.ended(rounded.all()[0])


def test_a_column_that_is_not_there_is_named(small: Path, digits_run: Path) -> None:
    table = tables.read(str(small))
    with pytest.raises(RunError, match="classifier/digits has no test/accuracy"):
        measure(table, table.rows["classifier"], digits_run)


def test_results_beside_a_page_take_part_elsewhere(here: Here) -> None:
    (here.folder / "small.yaml").write_text(SMALL)
    cells = TableCells(tables.read("small.yaml"), here.folder / "runs")
    for cell in cells.all():
        measured(cells, cell, 12.5)
    (here.folder / "pages").mkdir()
    here("reproduce", "small.yaml", "--out", "pages/small.md")
    out, _ = here("reproduce", "small.yaml", "--runs-in", "none", "--known", "pages", "--show")
    assert out.count("done") == 2
    assert not (here.folder / "none").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seeds: [0, 1]", "seeds: [0, 0]", "seeds is not a list of different numbers"),
        ("limits: {error: 99}", "seeds: [2, 2]", "rows.classifier.seeds"),
        ("limits: {error: 99}", "limits: {eror: 99}", "unknown column eror"),
        ("values: {error: 1.36}", "values: {acc: 1.36}", "unknown column acc"),
        ("recipe: classifier/digits, ", "", "a row requires recipe"),
        ("digits: 1}", "digits: 1, better: more}", "better more is not higher or lower"),
        ("unit: nats}", "test: [], evaluate: {}}", "test cannot be combined with evaluate"),
        ("published:", "publishd:", "did you mean published"),
        ("columns:\n", "columns: 3\nx:\n", "columns"),
    ],
)
def test_wrong_tables_are_refused(small: Path, old: str, new: str, said: str) -> None:
    small.write_text(SMALL.replace(old, new))
    with pytest.raises(RecipeError, match=re.escape(said)):
        tables.read(str(small))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mnist_100_label",), "did you mean mnist_100_labels"),
        (("mnist_100_labels", "bsds300"), "bsds300 is not key=value"),
        (("trainer.max_steps=2",), "reproduce requires a TABLE"),
        (("mnist_100_labels", "--rows", "vta"), "unknown row vta"),
        (("mnist_100_labels", "data.labls=3"), "data.labls"),
        (("mnist_100_labels", "--out", "x.txt"), "--out x.txt is not a file of Markdown"),
    ],
)
def test_wrong_words_start_nothing(here: Here, words: tuple[str, ...], said: str) -> None:
    _, err = here("reproduce", *words, code=2)
    assert said in err
    assert not (here.folder / "runs").exists()


def test_the_list_names_every_table(here: Here) -> None:
    out, _ = here("reproduce", "ls")
    assert [line.split()[0] for line in out.splitlines()] == sorted(tables.shipped())
