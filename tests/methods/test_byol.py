"""BYOL: both directions added, no gradient into the target, which moves after the step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genlab.methods.byol import BYOL
from genlab.networks.ema import cosine_to_one
from tests.losses.golden_embeddings import x
from tests.methods.programs_ssl import CNN, VIT, pairs, small


class Given(nn.Module):
    """Gives x(s): an image of brightness s is its own embedding."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return x(float(image[0, 0, 0, 0]), len(image), 16)


def test_the_value_on_paper_is_the_sum_of_both_directions() -> None:
    method = small("byol")
    for part in ("encoder", "encoder_ema"):
        setattr(method, part, Given())
    for part in ("projector", "projector_ema", "predictor"):
        setattr(method, part, nn.Identity())
    views = [torch.full((8, 1, 8, 8), s) for s in (0.0, 1.0)]
    loss = method.training_step({"views": views}, 0)["loss"]
    assert float(loss) == pytest.approx(2 * 0.8740587715009012, abs=1e-9)


def test_the_loss_is_between_prediction_and_target() -> None:
    method, batch = small("byol", VIT, head_norm="layer"), pairs(8)[0]
    nn.init.normal_(method.projector_ema[0].weight)
    found = method.training_step(batch, 0)["loss"]
    p1, p2 = (F.normalize(method.predictor(method.embed(view))) for view in batch["views"])
    t1, t2 = (F.normalize(method.target(view)) for view in batch["views"])
    squared = (p1 - t2).square().sum(1).mean() + (p2 - t1).square().sum(1).mean()
    torch.testing.assert_close(found, squared)


def test_small_batches_accumulate_to_the_large_one_without_batch_norm() -> None:
    """There are no negatives: the loss is a mean over images."""
    method, (view1, view2) = small("byol", VIT, head_norm="layer"), pairs(8)[0]["views"]
    whole = method.training_step({"views": [view1, view2]}, 0)["loss"]
    parts = [
        method.training_step({"views": [view1[rows], view2[rows]]}, 0)["loss"]
        for rows in (slice(0, 4), slice(4, 8))
    ]
    torch.testing.assert_close(whole, sum(parts) / 2)


def test_the_target_moves_after_the_step_towards_the_new_weights() -> None:
    """By hand on one number: 2 -> tau 2 + (1 - tau) 5."""
    method = small("byol")
    nn.init.constant_(method.projector_ema[0].weight, 2.0)
    nn.init.constant_(method.projector[0].weight, 5.0)
    method.after_step(3, 10)
    tau = cosine_to_one(0.9, 3, 10)
    found = method.projector_ema[0].weight[0, 0]
    assert float(found) == pytest.approx(tau * 2 + (1 - tau) * 5, abs=1e-6)


def test_an_endless_run_keeps_its_decay() -> None:
    method = small("byol")
    nn.init.zeros_(method.projector_ema[0].weight)
    nn.init.ones_(method.projector[0].weight)
    method.after_step(1000, float("inf"))
    assert float(method.projector_ema[0].weight[0, 0]) == pytest.approx(0.1, abs=1e-6)


def test_the_target_trains_its_own_batch_norm() -> None:
    method = small("byol")
    method.training_step(pairs(8)[0], 0)
    assert method.encoder_ema.training
    for network in (method.encoder, method.encoder_ema):
        assert int(network.state_dict()["backbone.1.num_batches_tracked"]) == 2  # a pass a view


def test_heads_of_the_paper() -> None:
    method = BYOL(**CNN)
    heads: list[Any] = [method.projector, method.predictor]
    for head in heads:
        kinds = [type(m) for m in head]
        assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
        assert (head[0].out_features, head[-1].out_features) == (4096, 256)
    assert not list(small("byol", predictor_dims=None).predictor.parameters())


def spread(method: Any, steps: int) -> float:
    """embedding_std * sqrt(D) of the last of ``steps`` steps on random images; 1 is ideal."""
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], 0.05, 0.9)
    generator = torch.Generator().manual_seed(5)
    for step in range(steps):
        image = torch.rand(32, 1, 8, 8, generator=generator)
        noise = 0.1 * torch.rand(2, 32, 1, 8, 8, generator=generator)
        out = method.training_step({"views": list(image + noise)}, step)
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        method.after_step(step, 10 * steps)
    return float(out["embedding_std"]) * 6**0.5


def test_embeddings_stay_spread_and_without_a_predictor_they_do_not() -> None:
    """Measured: 0.94, and 0.36 without."""
    assert 0.7 < spread(small("byol"), 200) < 1.3
    assert spread(small("byol", predictor_dims=None), 200) < 0.5


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ema_decay": -0.1}, r"ema_decay must be in \[0, 1\]"),
        ({"predictor_dims": [8, 5]}, "same width"),
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small("byol", **wrong)
