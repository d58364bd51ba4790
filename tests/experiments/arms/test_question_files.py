"""Files of studies: what they say, and what is refused with its place and the nearest name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genlab.errors import RecipeError
from genlab.experiments.arms import equality, question_files
from genlab.experiments.arms.expansion import Expansion, only
from genlab.experiments.studies import table as tables
from tests.experiments.arms.made import MISSING, STUDY, study

DECIDES: dict[str, Any] = STUDY["decides"]  # type: ignore[assignment]
PREDICTION: dict[str, Any] = STUDY["prediction"]  # type: ignore[assignment]
SHARE: dict[str, Any] = {
    "kind": "share", "margin": 0.1, "figure": "val/knn", "factor": "model.lr", "against": 0.0,
}  # fmt: skip
GRID = {"model.lr": [0.1, 0.2], "model.label_smoothing": [0.0, 0.1]}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": [1]}, "unknown key seed\nin .*small.yaml\ndid you mean seeds"),
        ({"question": MISSING}, "requires question"),
        ({"prediction": MISSING}, "requires prediction"),
        ({"prediction": PREDICTION | {"source": ""}}, "requires source"),
        ({"prediction": PREDICTION | {"expect": "high"}}, "expect high\n.*\ndid you mean higher"),
        ({"seeds": [0, 1, 2, 3]}, "5 different numbers"),
        ({"seeds": "0..4"}, "seeds '0..4' is not a list"),
        ({"steps": 0}, "steps is not a number"),
        ({"steps": MISSING}, "requires steps, or a budget"),
        ({"steps": {"fats": 3}}, "unknown name fats\n.*steps\ndid you mean fast"),
        ({"arms": MISSING}, "either arms or a grid"),
        ({"arms": {"fast": []}}, "two arms"),
        ({"equal": ["step"]}, "unknown equal step\n.*\ndid you mean steps"),
        ({"reads": ["val/knn"]}, "unknown name val/accuracy"),
        ({"decides": DECIDES | {"kind": "diference"}}, "kind diference\n.*\ndid you mean differ"),
        ({"decides": DECIDES | {"arms": ["fast", "slowly"]}}, "slowly\n.*\ndid you mean slow"),
        ({"decides": DECIDES | {"arms": ["fast"]}}, "difference requires two arms"),
        ({"decides": DECIDES | {"figures": ["val/knn", "seconds"]}}, "difference requires one arm"),
        ({"decides": DECIDES | {"margin": 0}}, "margin 0 is not above 0"),
        ({"decides": DECIDES | {"comparisons": 0}}, "comparisons 0"),
        ({"decides": DECIDES | {"kind": "rate"}}, "rate requires event"),
        ({"decides": DECIDES | {"interval": "z"}}, "unknown interval z"),
        ({"decides": SHARE | {"factor": "x"}}, "unknown name x"),
        ({"decides": SHARE | {"against": None}}, "share requires against"),
        ({"decides": DECIDES | {"yes_if": "lowe"}}, "unknown yes_if lowe\n.*\ndid you mean lower"),
        (
            {"decides": {"kind": "correlation", "margin": 0.1, "figures": ["val/knn", "seconds"]}},
            "5 arms",
        ),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        study(tmp_path, **changed)


def test_a_grid_is_every_combination(tmp_path: Path) -> None:
    found = study(tmp_path, arms=MISSING, grid=GRID, decides=SHARE)
    names = [arm.name for arm in found.arms]
    assert names[1] == "lr=0.1, label_smoothing=0.1"
    assert len(names) == 4
    recipes = Expansion(found).recipes
    assert recipes[names[2]].arguments("model")["optimizer"]["lr"] == 0.2


def test_settings_of_arms_are_checked_and_differ(tmp_path: Path) -> None:
    wrong = study(tmp_path, arms={"fast": ["model.lerning=1"], "slow": []})
    with pytest.raises(RecipeError, match=r"no argument lerning\nin .*small.yaml, arm fast"):
        _ = Expansion(wrong).recipes
    same = study(tmp_path, arms={"fast": [], "slow": []})
    with pytest.raises(RecipeError, match="arms fast and slow are the same"):
        _ = Expansion(same).recipes
    found = Expansion(study(tmp_path)).differing()
    assert found["fast"] == {"model.optimizer.lr": "0.01"}


def test_a_seed_takes_part_in_settings_and_runs_of_two_studies_are_one(tmp_path: Path) -> None:
    own = study(tmp_path, settings=["data.batch_size=64", "data.split_seed={seed}"])
    cells = Expansion(own).cells()
    assert len({cell.fingerprint for cell in cells if cell.arm == "fast"}) == 5
    assert "data.split_seed=3" in next(cell.words for cell in cells if cell.seed == 3)
    one, two = Expansion(study(tmp_path)).cells(), Expansion(study(tmp_path, seeds=[*range(9)]))
    names = {cell.name for cell in two.cells()}
    assert {cell.name for cell in one} < names
    assert len({cell.fingerprint for cell in one}) == 2
    longer = Expansion(study(tmp_path, steps=3)).cells()
    assert not names & {cell.name for cell in longer}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"steps": {"fast": 2, "slow": 3}}, "steps of the arms are not equal: 3 of slow, 2 of fa"),
        (
            {"arms": {"fast": ["data.batch_size=32"], "slow": []}, "equal": ["images"]},
            "images of the arms are not equal: 128 of slow, 64 of fast",
        ),
        (
            {"arms": {"fast": ["model.encoder_kwargs={width: 8}"], "slow": []},
             "settings": ["model.encoder=small_cnn"]},
            "parameters of the arms are not equal",
        ),
    ],
)  # fmt: skip
def test_what_is_said_to_be_equal_is_counted(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        equality.check(Expansion(study(tmp_path, **changed)))


def test_equal_arms_are_counted_alike_with_accumulated_gradients(tmp_path: Path) -> None:
    half = ["data.batch_size=32", "trainer.accumulate_grad_batches=2"]
    found = study(tmp_path, arms={"fast": half, "slow": []}, equal=["steps", "images"])
    expansion = Expansion(found)
    counts = {"fast": 128, "slow": 128}
    assert equality.check(expansion) == {"steps": {"fast": 2, "slow": 2}, "images": counts}
    words = next(cell.words for cell in expansion.cells() if cell.arm == "fast")
    assert "trainer.val_check_interval=4" in words


@pytest.mark.parametrize(
    ("recipe", "arms", "counts"),
    [  # steps x batch 64 x n_critic; steps x labelled batch x (1 + ratio)
        ("wgan_gp/digits", {"one": ["model.n_critic=1"], "five": ["model.n_critic=5"]}, (128, 640)),
        (
            "fixmatch/digits",
            {"one": ["data.unlabeled_ratio=1"], "seven": ["data.unlabeled_ratio=7"]},
            (64, 256),
        ),
    ],
)
def test_images_of_critics_and_without_labels_count(
    tmp_path: Path, recipe: str, arms: dict[str, list[str]], counts: tuple[int, int]
) -> None:
    decides = DECIDES | {"arms": list(arms)}
    found = study(
        tmp_path, recipe=recipe, settings=[], arms=arms, equal=["steps", "images"], decides=decides
    )
    said = f"images of the arms are not equal: {counts[1]} of .*, {counts[0]} of one"
    expansion = Expansion(found)
    with pytest.raises(RecipeError, match=said):
        equality.check(expansion)
    words = {cell.arm: cell.words for cell in expansion.cells()}
    for arm, count in zip(arms, counts, strict=True):  # one validation, after the last batch
        batches = count // 64 if recipe.startswith("wgan") else 2
        assert f"trainer.val_check_interval={batches}" in words[arm]


def test_a_critics_steps_count_where_the_recipe_is_silent(tmp_path: Path) -> None:
    alone = tmp_path / "alone.yaml"
    alone.write_text("data: {class_path: Digits}\nmodel: {class_path: WGANGP}\n")
    arms: dict[str, list[str]] = {"fast": [], "slow": ["model.n_critic=1"]}
    expansion = Expansion(study(tmp_path, recipe=str(alone), settings=[], arms=arms))
    assert (expansion.batches("fast"), expansion.batches("slow")) == (10, 2)  # its default is 5


def test_only_known_arms_and_seeds(tmp_path: Path) -> None:
    found = study(tmp_path)
    assert only(found, ["slow"], [3]) == [("slow", 3)]
    assert len(only(found, [], [])) == 10
    with pytest.raises(RecipeError, match="unknown arm slowly"):
        only(found, ["slowly"], [])
    with pytest.raises(RecipeError, match="unknown seed 7"):
        only(found, [], [7])


def test_steps_of_a_budget_are_written_at_the_end(tmp_path: Path) -> None:
    found = study(tmp_path, steps=MISSING, budget={"seconds": 10})
    assert Expansion(found).cells() == []
    for steps in (100, 200):
        question_files.write_steps(found, {"fast": steps, "slow": 50})
    again = question_files.read(found.file)
    assert [arm.steps for arm in again.arms] == [200, 50]
    assert question_files.meant(str(found.file)) == found.file.resolve()


def test_tables_are_no_questions() -> None:
    assert not tables.shipped().keys() & question_files.shipped().keys()
    assert question_files.meant("fair_table/digits") is None
