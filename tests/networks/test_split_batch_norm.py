from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from genlab import networks
from genlab.networks.split_batch_norm import SplitBatchNorm, has_batch_norm, split_batch_norm


def test_each_part_is_normalised_by_itself() -> None:
    split, x = SplitBatchNorm(3, 2), 5 * torch.randn(8, 3, 4, 4) + 2
    nn.init.normal_(split.weight)
    nn.init.normal_(split.bias)
    plain = nn.BatchNorm2d(3)
    plain.load_state_dict(split.state_dict())
    found = split(x)
    for part in (slice(0, 8, 2), slice(1, 8, 2)):
        torch.testing.assert_close(found[part], copy.deepcopy(plain)(x[part]))
    assert not torch.allclose(found, copy.deepcopy(plain)(x), atol=1e-3)


def test_running_statistics_are_the_mean_of_the_parts_and_used_in_evaluation() -> None:
    split, x = SplitBatchNorm(3, 2), torch.randn(8, 3, 4, 4) + 2
    split(x)
    torch.testing.assert_close(split.running_mean, 0.1 * x.mean((0, 2, 3)))
    assert int(split.num_batches_tracked or 0) == 1
    plain = nn.BatchNorm2d(3)
    plain.load_state_dict(split.state_dict())
    assert torch.equal(split.eval()(x), plain.eval()(x))


def test_an_encoder_keeps_its_names_and_weights() -> None:
    made = networks.encoder("resnet10t", 3, 32)
    before = copy.deepcopy(made.state_dict())
    split_batch_norm(1, made)
    assert not any(isinstance(m, SplitBatchNorm) for m in made.modules())
    split_batch_norm(4, made)
    after = made.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    norms = [m for m in made.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(isinstance(m, SplitBatchNorm) and m.groups == 4 for m in norms)
    assert made(torch.rand(8, 3, 32, 32)).isfinite().all()


def test_heads_are_split_too() -> None:
    """Vectors, with scale or without, as behind the projectors of SimCLR and MoCo v3."""
    head, x = networks.mlp(3, 5, 2, norm="batch", last_norm=True), torch.randn(8, 3)
    plain = copy.deepcopy(head)
    split_batch_norm(2, nn.LayerNorm(3), head)
    found = head(x)
    for part in (slice(0, 8, 2), slice(1, 8, 2)):
        torch.testing.assert_close(found[part], copy.deepcopy(plain)(x[part]))
    plain.load_state_dict(head.state_dict())
    assert torch.equal(head.eval()(x), plain.eval()(x))


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(ValueError, match="bn_splits requires batch norm"):
        split_batch_norm(2, nn.Linear(2, 2), nn.LayerNorm(2))
    with pytest.raises(ValueError, match="0 is a BatchNorm3d"):
        split_batch_norm(2, nn.Sequential(nn.BatchNorm3d(2)))
    with pytest.raises(ValueError, match="bn_splits 3 does not divide the 8 images"):
        SplitBatchNorm(3, 3)(torch.randn(8, 3, 2, 2))
    with pytest.raises(ValueError, match="bn_splits 8 leaves groups of one image"):
        SplitBatchNorm(3, 8)(torch.randn(8, 3, 2, 2))
    assert not has_batch_norm(nn.LayerNorm(3))
