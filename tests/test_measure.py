"""The maintainer's command that measures a recipe again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from genlab import recipes
from genlab.errors import RecipeError
from genlab.recipes import Result, fingerprints
from genlab.recipes.kept_fingerprints import Kept
from tests import measure

HEAD = """\
# kept
title: x   # a comment
measured:
- metric: test/accuracy
  value: 90.0
  unit: '%'
  notes: 'of 300: images'
- metric: knn_top1
  value: 80.0
  command: genlab evaluate RUN
# of it
cost: 1 s
"""
BODY = "---\n# a body\ndata: Digits\nmodel: {class_path: VAE, init_args: {latent_dim: 4}}\n"


def trained(name: str, seed: int, folder: Path) -> Mapping[str, Any]:
    return {"test/accuracy": 0.9 + 0.01 * seed, "test/loss": 1 / (seed + 3), "name": "x"}


def test_results_are_written_and_the_rest_stays(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(HEAD + BODY)
    said = measure.measure(str(file), range(3), [], trained)
    assert said == "test/accuracy 91.0 ± 1.0 %"
    first, second = recipes.head(file).measured
    today = fingerprints.fingerprint(recipes.resolve([file]))
    expected = Result(
        "test/accuracy", 91.0, "%", 1.0, (0, 1, 2), date=first.date, machine=measure.machine(),
        torch=fingerprints.versions()["torch"], fingerprint=today, notes="of 300: images",
    )  # fmt: skip
    assert first == expected
    assert len(first.date) == 10
    assert second == Result("knn_top1", 80.0, command="genlab evaluate RUN")
    text = file.read_text()
    assert text.startswith("# kept\ntitle: x   # a comment\nmeasured:\n- metric: test/accuracy\n")
    assert "  seeds: [0, 1, 2]\n" in text
    assert text.endswith("# of it\ncost: 1 s\n" + BODY)
    measure.measure(str(file), range(3), [], trained)
    assert file.read_text() == text


def test_a_recipe_that_was_not_run_gets_results(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    for head in ("title: x\nmeasured: not run\ncost: 1 s\n", "title: x\n"):
        file.write_text(head + BODY)
        measure.measure(str(file), [4], ["test/loss"], trained)
        assert recipes.head(file).measured[0].value == 0.1429
        assert recipes.head(file).measured[0].spread is None
        assert recipes.head(file).measured[0].seeds == (4,)
        assert file.read_text().endswith(BODY)


def test_what_cannot_be_measured_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(BODY)
    with pytest.raises(RecipeError, match="without a head"):
        measure.measure(str(file), [0], [], trained)
    file.write_text(HEAD + BODY)
    with pytest.raises(RecipeError, match=r"no test/acuracy[^$]*test/accuracy"):
        measure.measure(str(file), [0], ["test/acuracy"], trained)

    def edited(name: str, seed: int, folder: Path) -> Mapping[str, Any]:
        file.write_text(HEAD + BODY.replace("4", "5"))
        return trained(name, seed, folder)

    with pytest.raises(RecipeError, match="has changed while"):
        measure.measure(str(file), [0], [], edited)
    assert file.read_text() == HEAD + BODY.replace("4", "5")


@pytest.mark.parametrize("name", ["simclr/digits", "fixmatch/digits", "vq_prior/mnist"])
def test_the_form_is_that_of_the_shipped_heads(name: str) -> None:
    text = recipes.split(recipes.find(name).read_text())[0]
    block = measure.BLOCK.search(text)
    assert block
    assert recipes.parse(measure.yaml_of(recipes.head(recipes.find(name)).measured), "x") == (
        recipes.parse(block[0], "x")
    )


def test_a_result_of_another_command_stays(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    other = "- metric: test/accuracy\n  value: 70.0\n  unit: '%'\n  command: genlab fit x a=9\n"
    file.write_text(HEAD.replace("measured:\n", f"measured:\n{other}") + BODY)
    measure.measure(str(file), range(3), [], trained)
    first, own, last = recipes.head(file).measured
    assert (first.value, first.command) == (70.0, "genlab fit x a=9")
    assert (own.value, own.command, own.notes) == (91.0, "", "of 300: images")
    assert last.metric == "knn_top1"
    file.write_text(f"title: x\nmeasured:\n{other}{BODY}")
    measure.measure(str(file), range(3), ["test/accuracy"], trained)
    assert [one.value for one in recipes.head(file).measured] == [70.0, 91.0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_result_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(HEAD + BODY)
    with pytest.raises(RecipeError, match="nothing is written"):
        measure.measure(str(file), [0], [], lambda *_: {"test/accuracy": value})
    assert file.read_text() == HEAD + BODY


@pytest.mark.slow
def test_no_shipped_fingerprint_is_stale() -> None:
    kept, found = Kept(), 0
    for name, file in recipes.shipped().items():
        for result in recipes.head(file).measured:
            if result.fingerprint and not result.command:
                found += 1
                assert kept.of(file) == result.fingerprint, f"python -m tests.measure {name}"
    assert found
