"""MoCo v3: predictions against the keys of the batch, scaled by 2 tau."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genlab.networks.ema import cosine_to_one
from tests.methods.programs_ssl import VIT, pairs, small


def test_the_loss_is_two_tau_cross_entropy_of_both_directions() -> None:
    method, batch = small("moco_v3", VIT, head_norm="layer", temperature=0.2), pairs(8)[0]
    nn.init.normal_(method.projector_ema[0].weight)  # keys unlike the queries
    found = method.training_step(batch, 0)["loss"]
    q1, q2 = (F.normalize(method.predictor(method.embed(view))) for view in batch["views"])
    k1, k2 = (F.normalize(method.key(view)) for view in batch["views"])
    own = torch.arange(8)
    plain = F.cross_entropy(q1 @ k2.T / 0.2, own) + F.cross_entropy(q2 @ k1.T / 0.2, own)
    torch.testing.assert_close(found / 0.4, plain)


def test_a_vits_patch_embedding_stays_as_it_is() -> None:
    method = small("moco_v3", VIT)
    method.training_step(pairs(8)[0], 0)["loss"].backward()
    assert method.encoder.backbone.patch_embed.proj.weight.grad is None
    assert method.encoder.backbone.blocks[0].attn.qkv.weight.grad is not None
    free = small("moco_v3", VIT, freeze_patch_embed=False)
    assert free.encoder.backbone.patch_embed.proj.weight.requires_grad


def test_the_momentum_copy_moves_by_the_cosine_of_the_next_step() -> None:
    method = small("moco_v3")
    nn.init.zeros_(method.projector_ema[0].weight)
    nn.init.ones_(method.projector[0].weight)
    method.after_step(2, 10)
    found = float(method.projector_ema[0].weight[0, 0])
    assert found == pytest.approx(1 - cosine_to_one(0.9, 3, 10))
    method.after_step(9, 10)
    assert float(method.projector_ema[0].weight[0, 0]) == found  # the last decay is 1


def test_each_view_has_its_own_pass_as_in_the_reference() -> None:
    method = small("moco_v3")
    method.training_step(pairs(8)[0], 0)
    for network in (method.encoder, method.encoder_ema):
        assert int(network.state_dict()["backbone.1.num_batches_tracked"]) == 2


def test_heads_of_the_paper() -> None:
    method = small("moco_v3", predictor_last_norm=True)
    for head in (method.projector, method.predictor):
        assert isinstance(head[1], nn.BatchNorm1d)
        assert isinstance(head[-1], nn.BatchNorm1d)
        assert not head[-1].affine
    assert isinstance(small("moco_v3").predictor[-1], nn.Linear)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ema_decay": 1.1}, r"ema_decay must be in \[0, 1\]"),
        ({"predictor_dims": [8, 5]}, "same width"),
        ({"head_norm": "group"}, "norm 'group'"),
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small("moco_v3", **wrong)
