"""Synchronised batch norms compute what the plain ones did, and come back."""

from __future__ import annotations

import pytest
import timm
import torch
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn

from genlab.networks.split_batch_norm import split_batch_norm
from genlab.training.engine.sync_batch_norm import SyncBatchNorm


@pytest.mark.parametrize("name", ["resnet10t", "efficientnet_lite0", "regnetx_002"])
def test_activations_survive_the_way_there_and_back(name: str) -> None:
    model: nn.Module = timm.create_model(name, num_classes=3)
    image = torch.rand(2, 3, 64, 64)
    model(image)  # statistics other than the initial ones
    expected = model.eval()(image)
    sync = SyncBatchNorm()
    synchronised = sync.apply(model).eval()
    kinds = {type(m).__name__ for m in synchronised.modules()}
    assert any(kind.startswith("SyncBatchNorm") for kind in kinds)
    torch.testing.assert_close(synchronised(image), expected)
    reverted = sync.revert(synchronised).eval()
    assert not any(isinstance(m, nn.SyncBatchNorm) for m in reverted.modules())
    torch.testing.assert_close(reverted(image), expected)
    reverted.train()(image).sum().backward()
    assert all(p.grad is not None for p in reverted.parameters())


def test_lightnings_own_way_would_lose_them() -> None:
    model = timm.create_model("efficientnet_lite0", num_classes=3)
    image = torch.rand(2, 3, 64, 64)
    model(image)
    expected = model.eval()(image)
    assert not torch.allclose(TorchSyncBatchNorm().apply(model).eval()(image), expected)


def test_groups_are_not_replaced_without_a_word() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2))
    split_batch_norm(2, model)
    with pytest.raises(ValueError, match=r"model\.bn_splits cannot be combined with trainer\.sync"):
        SyncBatchNorm().apply(model)
