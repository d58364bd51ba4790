"""SimSiam: the target is a constant, and the predictor's rate does not fall."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genlab.data import Digits
from genlab.methods.simsiam import SimSiam
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer
from tests.methods.programs_ssl import CNN, VIT, pairs, small


def test_the_loss_is_the_papers() -> None:
    method, batch = small("simsiam", VIT, head_norm="layer"), pairs(8)[0]
    found = method.training_step(batch, 0)["loss"]
    z1, z2 = (method.embed(view) for view in batch["views"])
    p1, p2 = method.predictor(z1), method.predictor(z2)
    first, second = F.cosine_similarity(p1, z2).mean(), F.cosine_similarity(p2, z1).mean()
    torch.testing.assert_close(found, -0.5 * (first + second))


def test_no_gradient_goes_through_the_target() -> None:
    """The gradient is that of targets which are numbers; without the switch it is another."""

    def gradient(method: SimSiam) -> torch.Tensor:
        method.training_step(batch, 0)["loss"].backward()
        return method.encoder.backbone.blocks[0].attn.qkv.weight.grad  # type: ignore[union-attr,index]

    batch: Any = pairs(8)[0]
    by_hand = small("simsiam", VIT, head_norm="layer")
    with torch.no_grad():
        z1, z2 = (by_hand.embed(view) for view in batch["views"])
    p1, p2 = (by_hand.predictor(by_hand.embed(view)) for view in batch["views"])
    (-0.5 * (F.cosine_similarity(p1, z2) + F.cosine_similarity(p2, z1)).mean()).backward()
    expected = by_hand.encoder.backbone.blocks[0].attn.qkv.weight.grad
    torch.testing.assert_close(gradient(small("simsiam", VIT, head_norm="layer")), expected)
    through = small("simsiam", VIT, head_norm="layer", stop_gradient=False)
    assert not torch.allclose(gradient(through), expected, rtol=0.1, atol=1e-6)


def test_without_stop_gradient_the_value_is_the_same_and_the_gradient_whole() -> None:
    batch = pairs(8)[0]
    method = small("simsiam", VIT, head_norm="layer", stop_gradient=False)
    found = method.training_step(batch, 0)["loss"]
    torch.testing.assert_close(
        found, small("simsiam", VIT, head_norm="layer").training_step(batch, 0)["loss"]
    )
    z1, z2 = (method.embed(view) for view in batch["views"])
    p1, p2 = method.predictor(z1), method.predictor(z2)
    plain = -0.5 * (F.cosine_similarity(p1, z2) + F.cosine_similarity(p2, z1)).mean()
    trained = [p for p in method.parameters() if p.requires_grad]
    expected = torch.autograd.grad(plain, trained)
    torch.testing.assert_close(torch.autograd.grad(found, trained), expected)


@pytest.mark.parametrize("fixed", [True, False])
def test_the_predictors_rate_does_not_fall(fixed: bool, tmp_path: Path) -> None:
    settings = {"name": "torch.sgd", "lr": 0.1, "schedule": "cosine", "weight_decay": 1e-4}
    method = small("simsiam", optimizer=settings, fix_predictor_lr=fixed)
    run = trainer(tmp_path, Reseed(), max_epochs=1, limit_val_batches=0)
    run.fit(method, datamodule=Digits(batch_size=32, limit=160, val_size=100, views="simclr"))
    rates = {id(p): g["lr"] for g in run.optimizers[0].param_groups for p in g["params"]}
    for name, p in method.named_parameters():
        constant = fixed and name.startswith("predictor.")
        assert (rates[id(p)] == 0.1) is constant, name


def test_heads_of_the_paper() -> None:
    method = SimSiam(**CNN)
    assert isinstance(method.projector[-1], nn.BatchNorm1d)
    assert not method.projector[-1].affine
    assert [m.out_features for m in method.projector if isinstance(m, nn.Linear)] == [2048] * 3
    assert [type(m) for m in method.predictor] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert [m.out_features for m in method.predictor if isinstance(m, nn.Linear)] == [512, 2048]


def test_each_view_has_its_own_pass_as_in_the_reference() -> None:
    method = small("simsiam")
    method.training_step(pairs(8)[0], 0)
    assert int(method.encoder.state_dict()["backbone.1.num_batches_tracked"]) == 2


def test_widths_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="same width"):
        small("simsiam", predictor_dims=[8, 5])
