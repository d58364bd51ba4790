"""Batch norm in groups on one device, in place of MoCo's shuffling over several devices."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class SplitBatchNorm(nn.BatchNorm2d):
    """Batch norm that, in training, has separate statistics for each of ``groups`` equal parts.

    Image i belongs to part i modulo ``groups``. The running statistics move towards the mean of the
    parts' and are used outside training.

    Args:
        num_features: C.
        groups: number of parts.
        eps, momentum: arguments of batch norm.

    Source: the CIFAR notebook of facebookresearch/moco.
    """

    def __init__(
        self, num_features: int, groups: int, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__(num_features, eps, momentum)
        self.groups, self.rate = groups, momentum

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W).

        Raises:
            ValueError: in training, a batch that cannot be divided.
        """
        if not self.training:
            return super().forward(x)
        b, c, h, w = x.shape
        check_groups(b, self.groups)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        mean, var = self.running_mean.repeat(self.groups), self.running_var.repeat(self.groups)
        weight, bias = self.weight.repeat(self.groups), self.bias.repeat(self.groups)
        side = x.reshape(-1, self.groups * c, h, w)  # channels of the groups side by side
        out = F.batch_norm(side, mean, var, weight, bias, True, self.rate, self.eps)
        self.running_mean.copy_(mean.view(self.groups, c).mean(0))
        self.running_var.copy_(var.view(self.groups, c).mean(0))
        self.num_batches_tracked.add_(1)
        return out.reshape(b, c, h, w)


def split_batch_norm(module: nn.Module, groups: int) -> None:
    """Replace the batch norms of an encoder, in place; names and weights stay.

    Args:
        module: the encoder.
        groups: number of parts with separate statistics; 1 changes nothing.

    Raises:
        ValueError: fewer than one group; no batch norm to split; one with an activation inside.
    """
    if groups < 1:
        raise ValueError(f"bn_splits must be at least 1, got {groups}")
    if groups == 1:
        return
    if not has_batch_norm(module):
        raise ValueError("bn_splits: this encoder has no batch norm")
    for path, child in list(module.named_modules()):
        if not isinstance(child, BATCH_NORMS):
            continue
        plain = type(child) is nn.BatchNorm2d and child.affine and child.track_running_stats
        if not plain or child.momentum is None:
            raise ValueError(f"bn_splits: {path} is a {type(child).__name__}, not a BatchNorm2d")
        split = SplitBatchNorm(child.num_features, groups, child.eps, child.momentum)
        split.load_state_dict(child.state_dict())
        parent, _, name = path.rpartition(".")
        setattr(module.get_submodule(parent), name, split.train(child.training))


def check_groups(images: int, groups: int) -> None:
    """Check that the images of a pass form equal groups of at least two.

    Raises:
        ValueError: they do not.
    """
    if images % groups:
        raise ValueError(f"bn_splits {groups} does not divide the {images} images of a process")
    if 1 < groups == images:
        raise ValueError(f"bn_splits {groups} leaves groups of one image")


def has_batch_norm(module: nn.Module) -> bool:
    """True if a result for one image depends on the others of its batch."""
    return any(isinstance(child, BATCH_NORMS) for child in module.modules())
