"""A small study and made-up results of it, for tests without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from genlab.experiments.arms import question_files
from genlab.experiments.arms.question import Question
from genlab.experiments.arms.results import Values

HEAD = {"title": "A rate of learning", "run": "genlab study run small.yaml"}
STUDY = {
    "question": "Does a rate of 0.01 learn more than 0.001?",
    "recipe": "classifier/digits",
    "settings": ["data.batch_size=64"],
    "arms": {"fast": ["model.lr=0.01"], "slow": ["model.lr=0.001"]},
    "steps": 2,
    "equal": ["steps", "images", "parameters"],
    "seeds": [0, 1, 2, 3, 4],
    "reads": ["val/accuracy", "val/knn", "seconds"],
    "decides": {
        "kind": "difference", "arms": ["fast", "slow"], "figure": "val/accuracy", "margin": 0.02,
    },
    "prediction": {"expect": "higher", "what": "it does", "source": "a guess"},
}  # fmt: skip
MISSING = object()


def write(place: Path, **changed: Any) -> Path:
    """A study's file with keys changed; MISSING removes one."""
    content = {key: value for key, value in (STUDY | changed).items() if value is not MISSING}
    file = place / "small.yaml"
    file.write_text(yaml.safe_dump(HEAD) + "---\n" + yaml.safe_dump(content, sort_keys=False))
    return file


def study(place: Path, **changed: Any) -> Question:
    """A study with keys changed."""
    return question_files.read(write(place, **changed))


def values(question: Question, **arms: list[float]) -> Values:
    """Results of the deciding metric by arm, a value for each seed."""
    metric = question.decides.read[0]
    return {
        arm: {
            seed: {metric: value, "diverged": 0.0}
            for seed, value in zip(question.seeds, column, strict=False)
        }
        for arm, column in arms.items()
    }
