"""Runs of a study's arms: recipes with settings, steps and seeds. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from genlab import recipes
from genlab.errors import RecipeError, nearest
from genlab.experiments.arms.question import Question
from genlab.experiments.trials import Trial
from genlab.recipes import Recipe
from genlab.recipes.fingerprints import argument
from genlab.recipes.kept_fingerprints import Kept
from genlab.runs.settings import flat, shown

ALWAYS = [  # of every run: steps end it, one validation follows the last of them
    "trainer.max_epochs=-1", "trainer.check_val_every_n_epoch=null", "checkpoint.monitor=null",
    "track.wandb=off", "track.test_after_fit=false",
]  # fmt: skip
SEED = "{seed}"
SAME = ("trainer.", "track.", "checkpoint.", "seed_everything")  # not shown as an arm's setting


@dataclass(frozen=True)
class Cell:
    """A run of an arm.

    Args:
        arm: name of the arm.
        seed: seed of the run.
        recipe: recipe that it trains.
        words: ``key=value`` settings over it, without the seed.
        fingerprint: fingerprint of the recipe with these settings; the same in every study.
        settings: digest of the resolved recipe, which results next to a page are found by: other
            than the fingerprint it does not depend on code.
    """

    arm: str
    seed: int
    recipe: str
    words: tuple[str, ...]
    fingerprint: str
    settings: str

    @property
    def name(self) -> str:
        """Its run's id, and the name of its results."""
        return f"arm-{self.fingerprint[:12]}-s{self.seed}"

    def trial(self, root: Path) -> Trial:
        """Its training."""
        own = [f"seed_everything={self.seed}"]
        place = f"track.runs={json.dumps(str(root), ensure_ascii=False)}"
        fixed = [self.recipe, *self.words, place]
        return Trial(root / self.recipe / self.name, own, fixed)


class Expansion:
    """The runs of a study.

    Args:
        question: the study.
    """

    def __init__(self, question: Question) -> None:
        self.question = question

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """The resolved recipe of every arm, with the first seed.

        Raises:
            RecipeError: a recipe or setting is wrong; two arms are the same.
        """
        first = self.question.seeds[0]
        found = {arm.name: self.resolved(arm.name, first) for arm in self.question.arms}
        seen: dict[str, str] = {}
        for name, recipe in found.items():
            key = json.dumps([recipe.config, self.steps(name)], sort_keys=True, default=str)
            if key in seen:
                what = f"arms {seen[key]} and {name} are the same"
                raise RecipeError(what, str(self.question.file))
            seen[key] = name
        return found

    def resolved(self, name: str, seed: int, words: Iterable[str] = ()) -> Recipe:
        """An arm's recipe with its settings and more, its keys checked."""
        arm = self.question.arm(name)
        try:
            given = [*self.words(name, seed), *words]
            recipe = recipes.resolve([arm.recipe or self.question.recipe], given)
            recipes.check_keys(recipe)
        except RecipeError as error:
            what, *rest = str(error).split("\n")
            hint = next((line for line in rest if not line.startswith("in ")), "")
            raise RecipeError(what, f"{self.question.file}, arm {name}", hint) from None
        return recipe

    def words(self, name: str, seed: int) -> list[str]:
        """Settings of an arm, without its length; the later of two for a key."""
        own = [*self.question.settings, *self.question.arm(name).settings, *ALWAYS]
        words = [word.replace(SEED, str(seed)) for word in own]
        return list({_key(number, word): word for number, word in enumerate(words)}.values())

    def steps(self, name: str) -> int | None:
        """Optimiser steps of an arm's runs; None before ``study bench`` has found them."""
        own = self.question.arm(name).steps
        return self.question.steps if own is None else own

    def batches(self, name: str) -> int | None:
        """Batches of an arm's runs: more than steps where gradients accumulate or a critic learns.

        A GAN's step is the generator's, after ``n_critic`` batches, see `optim.total_steps`.
        """
        steps, recipe = self.steps(name), self.recipes[name]
        critic = int(argument(recipe, "n_critic") or 1)
        return None if steps is None else steps * self._accumulated(name) * critic

    def images(self, name: str) -> int | None:
        """Images that an arm's runs train on, labelled or not, each as often as it is seen."""
        batches, data = self.batches(name), self.recipes[name].arguments("data")
        size, unlabeled = data.get("batch_size"), int(data.get("unlabeled_ratio") or 0)
        if batches is None or not isinstance(size, int):
            return None
        return batches * size * (1 + unlabeled)

    def _accumulated(self, name: str) -> int:
        return int(self.recipes[name].config.get("trainer", {}).get("accumulate_grad_batches") or 1)

    def differing(self) -> dict[str, dict[str, str]]:
        """Settings by arm that are not the same in all arms."""
        every = {name: _flat(recipe) for name, recipe in self.recipes.items()}
        keys = dict.fromkeys(key for settings in every.values() for key in settings)
        differ = [key for key in keys if len({one.get(key, "-") for one in every.values()}) > 1]
        return {name: {key: one.get(key, "-") for key in differ} for name, one in every.items()}

    def cells(self) -> list[Cell]:
        """Every run, the first seed of every arm before the second; none without steps."""
        kept, found_by = Kept(), dict[tuple[str, ...], tuple[str, str]]()
        found = []
        for seed in self.question.seeds:
            for arm in self.question.arms:
                steps, batches = self.steps(arm.name), self.batches(arm.name)
                if batches is None:
                    continue
                length = [f"trainer.max_steps={steps}", f"trainer.val_check_interval={batches}"]
                words = (*self.words(arm.name, seed), *length)
                recipe = arm.recipe or self.question.recipe
                if (key := (recipe, *words)) not in found_by:
                    resolved = self.resolved(arm.name, seed, length)
                    found_by[key] = kept.of_recipe(resolved), _digest(resolved)
                found.append(Cell(arm.name, seed, recipe, words, *found_by[key]))
        kept.save()
        return found


def _key(number: int, word: str) -> str:
    """What a word sets; one that appends is never another's repetition."""
    key = word.partition("=")[0]
    return f"{number} {key}" if key.endswith("+") else key


def _digest(recipe: Recipe) -> str:
    content = json.dumps(recipe.config, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _flat(recipe: Recipe) -> dict[str, str]:
    config: Mapping[str, Any] = recipe.config
    found = {key: shown(value, 60) for key, value in flat(dict(config)).items()}
    own = {key: value for key, value in found.items() if not key.startswith(SAME)}
    return {"recipe": recipe.name, **own}


def only(question: Question, names: Iterable[str], seeds: Iterable[int]) -> list[tuple[str, int]]:
    """The arms and seeds that are asked for, all where none is named.

    Raises:
        RecipeError: the study has no such arm or seed.
    """
    names, seeds = list(names), list(seeds)
    known = [arm.name for arm in question.arms]
    for name in names:
        if name not in known:
            raise RecipeError(f"unknown arm {name}", str(question.file), nearest(name, known))
    for seed in seeds:
        if seed not in question.seeds:
            hint = f"seeds are {', '.join(map(str, question.seeds))}"
            raise RecipeError(f"unknown seed {seed}", str(question.file), hint)
    return [(name, seed) for seed in seeds or question.seeds for name in names or known]
