"""``trainer.sync_batchnorm: true`` for timm's networks too."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import nn

from genlab.internals import timm_parts
from genlab.networks.split_batch_norm import SplitBatchNorm


class SyncBatchNorm(TorchSyncBatchNorm):
    """Batch norms with statistics over all ranks, activations kept.

    The EfficientNets, MobileNets and RegNets of timm have batch norms that apply the activation
    too; torch's own conversion, which Lightning calls, loses it without a word.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Every batch norm of the model as a synchronised one, same weights and activations.

        Raises:
            ValueError: batch norms in groups, which would be lost.
        """
        if any(isinstance(module, SplitBatchNorm) for module in model.modules()):
            raise ValueError("model.bn_splits cannot be combined with trainer.sync_batchnorm")
        return convert_sync_batchnorm(model)

    def revert(self, model: nn.Module) -> nn.Module:
        """Every synchronised batch norm as a plain one."""
        for name, child in model.named_children():
            model.add_module(name, self.revert(child))
        return _plain(model) if timm_parts.is_sync_batch_norm_act(model) else super().revert(model)


def _plain(norm: Any) -> BatchNormAct2d:
    """Timm's batch norm with activation again, sharing the synchronised one's tensors."""
    plain: Any = BatchNormAct2d(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    for name in ("act", "drop", "weight", "bias", "running_mean", "running_var"):
        setattr(plain, name, getattr(norm, name))
    plain.num_batches_tracked = norm.num_batches_tracked
    return plain.train(norm.training)
