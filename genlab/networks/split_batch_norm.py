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
        eps, momentum, affine: arguments of batch norm.

    Source: the CIFAR notebook of facebookresearch/moco.
    """

    def __init__(
        self,
        num_features: int,
        groups: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine)
        self.groups, self.rate = groups, momentum

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), or (B, C) -> (B, C).

        Raises:
            ValueError: in training, a batch that cannot be divided.
        """
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        scales = self.weight, self.bias
        if not self.training:
            statistics = self.running_mean, self.running_var
            return F.batch_norm(x, *statistics, *scales, False, self.rate, self.eps)
        check_groups(len(x), self.groups)
        mean, var = self.running_mean.repeat(self.groups), self.running_var.repeat(self.groups)
        weight, bias = (s.repeat(self.groups) if self.affine else None for s in scales)
        c, *side = x.shape[1:]
        parts = x.reshape(-1, self.groups * c, *side)  # channels of the groups side by side
        out = F.batch_norm(parts, mean, var, weight, bias, True, self.rate, self.eps)
        self.running_mean.copy_(mean.view(self.groups, c).mean(0))
        self.running_var.copy_(var.view(self.groups, c).mean(0))
        self.num_batches_tracked.add_(1)
        return out.reshape(x.shape)


def split_batch_norm(groups: int, *networks: nn.Module) -> None:
    """Replace the batch norms of networks, in place; names and weights stay.

    Args:
        groups: number of parts with separate statistics; 1 changes nothing.
        networks: encoder and heads.

    Raises:
        ValueError: fewer than one group; no batch norm to split; one with an activation inside.
    """
    if groups < 1:
        raise ValueError(f"bn_splits must be at least 1, got {groups}")
    if groups == 1:
        return
    if not any(map(has_batch_norm, networks)):
        raise ValueError("bn_splits requires batch norm, which neither encoder nor heads have")
    for network in networks:
        for path, child in list(network.named_modules()):
            if isinstance(child, BATCH_NORMS):
                parent, _, name = path.rpartition(".")
                setattr(network.get_submodule(parent), name, _split(child, groups, path))


def _split(norm: nn.Module, groups: int, path: str) -> SplitBatchNorm:
    """The same batch norm in groups."""
    wrong = f"bn_splits: {path} is a {type(norm).__name__}, not a plain BatchNorm1d or 2d"
    if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) or type(norm) not in BATCH_NORMS:
        raise ValueError(wrong)
    if norm.running_mean is None or norm.momentum is None:
        raise ValueError(f"{wrong} with running statistics")
    split = SplitBatchNorm(norm.num_features, groups, norm.eps, norm.momentum, norm.affine)
    split.load_state_dict(norm.state_dict())
    return split.to(norm.running_mean).train(norm.training)  # type and device


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
