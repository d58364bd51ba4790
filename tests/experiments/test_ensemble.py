"""Ensembles: the mean of probabilities of made-up classifiers, and runs from the command line."""

from __future__ import annotations

import json
import math

import pytest
import torch

from genlab.experiments.ensemble import averaged
from tests.conftest import Shell


def test_two_made_up_classifiers() -> None:
    label = torch.tensor([0, 0, 1, -1])
    one = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.5, 0.5]])
    two = torch.tensor([[0.6, 0.4], [0.8, 0.2], [0.7, 0.3], [0.5, 0.5]])
    found = averaged([one, two], label)  # means 0.75, 0.6 and 0.55 of the right classes
    assert found["ensemble/accuracy"] == 1
    loss = -(math.log(0.75) + math.log(0.6) + math.log(0.55)) / 3
    assert found["ensemble/loss"] == pytest.approx(loss, rel=1e-6)
    assert found["ensemble/member_accuracy"] == pytest.approx(2 / 3)  # each is wrong once
    own = [0.9, 0.4, 0.8, 0.6, 0.8, 0.3]
    assert found["ensemble/member_loss"] == pytest.approx(-sum(map(math.log, own)) / 6, rel=1e-6)
    assert found["ensemble/member_loss"] > found["ensemble/loss"]
    assert found["ensemble/disagreement"] == pytest.approx(2 / 3)
    assert found["ensemble/ece"] == pytest.approx((0.25 + 0.4 + 0.45) / 3, rel=1e-5)
    assert found["ensemble/members"] == 2


def test_an_ensemble_of_copies_is_the_classifier() -> None:
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(50, 4, generator=generator).softmax(1)
    label = torch.randint(4, (50,), generator=generator)
    found = averaged([one] * 3, label)
    assert found["ensemble/loss"] == pytest.approx(found["ensemble/member_loss"])
    assert found["ensemble/accuracy"] == found["ensemble/member_accuracy"]
    assert found["ensemble/disagreement"] == 0


def test_runs_of_two_seeds(shell: Shell) -> None:
    short = ["trainer.max_steps=20", "model.encoder_kwargs={width: 4}", "track.wandb=off"]
    for seed in (0, 1):
        shell("fit", "classifier/digits", *short, f"seed_everything={seed}")
    each = [str(one) for one in sorted((shell.folder / "runs/classifier/digits").iterdir())]
    found = json.loads(shell("evaluate", *each, "--ensemble", "--json")[0])
    own = [json.loads(shell("test", one, "--json")[0]) for one in each]
    mean = sum(one["test/accuracy"] for one in own) / 2
    assert found["ensemble/member_accuracy"] == pytest.approx(mean, abs=1e-6)
    assert found["ensemble/loss"] < found["ensemble/member_loss"]
    assert found["ensemble/member_loss"] == pytest.approx(
        sum(one["test/loss"] for one in own) / 2, rel=1e-4
    )
    assert "at least two runs" in shell("evaluate", each[0], "--ensemble", code=2)[1]
    assert "is named twice" in shell("evaluate", each[0], each[0], "--ensemble", code=2)[1]
    other = [*each, "data.flipped=true"]
    assert "flipped" in shell("evaluate", *other, "--ensemble", code=2)[1]
