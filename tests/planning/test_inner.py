"""What a plan takes in place of another run's method."""

from __future__ import annotations

from pathlib import Path

import pytest

from genlab import recipes
from genlab.errors import RecipeError
from genlab.planning import inner


def test_what_is_neither_a_run_nor_a_recipe_names_the_setting_and_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = recipes.resolve(["vq_prior/digits"], ["model.tokenizer=vqvae/digts"])
    with pytest.raises(RecipeError) as error:
        inner.untrained(recipe, tmp_path)
    what, where, hint = str(error.value).splitlines()
    assert what == "tokenizer vqvae/digts is neither a run nor a shipped recipe"
    assert where.strip() == "in the command line, model.tokenizer"
    assert "vqvae/digits" in hint
