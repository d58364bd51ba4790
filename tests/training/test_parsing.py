"""Arguments that are parsed once and made many times."""

from __future__ import annotations

from genlab import recipes
from genlab.callbacks import EMAWeights
from genlab.training.parsing import parse, remembered


def test_remembered_arguments_share_no_values() -> None:
    recipe = recipes.resolve(["vae/digits"], [])
    with remembered():
        one, two = (parse(EMAWeights, "model", {"decay": 0.5}, recipe) for _ in range(2))
        other = parse(EMAWeights, "model", {"decay": 0.6}, recipe)
    assert one._parser is two._parser
    assert one.plain == two.plain == one.made() == two.made()
    one.plain["decay"] = 0.1
    assert (two.plain["decay"], other.plain["decay"]) == (0.5, 0.6)
    outside = [parse(EMAWeights, "model", {"decay": 0.5}, recipe) for _ in range(2)]
    assert outside[0]._parser is not outside[1]._parser
