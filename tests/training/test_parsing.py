"""Arguments that are parsed once and made many times."""

from __future__ import annotations

from pathlib import Path

import pytest

from genlab import recipes
from genlab.callbacks import EMAWeights
from genlab.errors import RecipeError
from genlab.training.parsing import parse, remembered


def test_remembered_arguments_share_no_values() -> None:
    recipe = recipes.resolve(["vae/digits"], [])
    with remembered():
        one, two = (parse(EMAWeights, "model", {"decay": 0.5}, recipe) for _ in range(2))
        other = parse(EMAWeights, "model", {"decay": 0.6}, recipe)
    assert one._parsed is two._parsed
    assert one.plain == two.plain == one.made() == two.made()
    one.plain["decay"] = 0.1
    assert (two.plain["decay"], other.plain["decay"]) == (0.5, 0.6)
    outside = [parse(EMAWeights, "model", {"decay": 0.5}, recipe) for _ in range(2)]
    assert outside[0]._parsed is not outside[1]._parsed


class Needs:
    """A class with an argument that must be given."""

    def __init__(self, size: int) -> None:
        self.size = size


@pytest.mark.parametrize("given", [{}, {"size": "!!timestamp x:"}])
def test_what_has_no_key_of_its_own_names_file_and_group(
    given: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text("config: vae/digits\nmodel: {latent_dim: 3}\n")
    recipe = recipes.resolve([str(tmp_path / "mine.yaml")], [])
    with pytest.raises(RecipeError) as error:
        parse(Needs, "model", given, recipe)
    assert ".yaml, model" in str(error.value).splitlines()[1]
