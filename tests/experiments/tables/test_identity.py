"""Runs of a table that are others: those of an edited recipe, and those of other code."""

from __future__ import annotations

from pathlib import Path

from genlab import recipes
from genlab.experiments.tables.page import other_code, page
from tests.experiments.tables.made import cells_of


def test_an_edited_recipe_is_another_run(small: Path) -> None:
    recipe, base = small.with_name("mine.yaml"), recipes.shipped()["classifier/digits"]
    names = []
    for title, rest in (
        ("x", "trainer: {max_epochs: 3}"),
        ("another title", "trainer: {max_epochs: 3}  # and a remark"),
        ("x", "trainer: {max_epochs: 3, gradient_clip_val: null}"),  # which is the default
        ("x", "trainer: {max_epochs: 4}"),
    ):
        recipe.write_text(f"title: {title}\n---\nconfig: {base}\n{rest}\n")
        (cell,) = cells_of(small, rows={"mine": {"recipe": str(recipe)}}, seeds=[0]).all()
        names.append(cell.name)
    assert names[0] == names[1] == names[2] != names[3]


def test_runs_of_other_code_are_named(small: Path) -> None:
    """Of the row, or of a run that it starts from; those that failed have no result."""
    row = {"recipe": "vq_prior/digits", "after": {"model.tokenizer": "vqvae/digits"}}
    cells = cells_of(small, rows={"plain": {"recipe": "classifier/digits"}, "prior": row})
    assert other_code(cells) == {}  # nothing has a result
    for cell in cells.all():
        cells.folder.mkdir(parents=True, exist_ok=True)
        cells.keep(cell, {"error": 1.0, "fingerprint": cells.fingerprint(cell)})
    assert other_code(cells) == {}
    assert "Other code" not in page(cells)
    (before,) = cells.runs("prior")[1].before.values()
    cells.keep(before, {"trained": True, "fingerprint": "of last week"})
    cells.keep(cells.runs("plain")[0], {"error": 1.0})
    assert other_code(cells) == {"plain": "1 of 2 runs", "prior": "1 of 2 runs"}
    assert "## Other code" in page(cells)
    assert "- prior: 1 of 2 runs\n" in page(cells)
    for cell in [*cells.runs("plain"), cells.runs("prior")[1]]:
        cells.keep(cell, {"failed": "it broke"})
    assert other_code(cells) == {}
