"""Invertible 1x1 convolution: a learned mixture of the channels in place of a permutation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class InvertibleConv(nn.Module):
    """z = W x at every pixel, W starting as a random rotation.

    Args:
        channels: C of (B, C, H, W), or of (B, C).
        lu: store W = P L (U + diag(s)) with P fixed and the signs of s fixed: the log-determinant
            costs C instead of C^3, and W can never become singular.

    Source: Kingma & Dhariwal 2018 (Glow), arXiv:1807.03039, section 3.2. The inverse and the
    determinant are computed in float64, the product at least in float32, under any autocast.
    """

    order: Tensor
    sign: Tensor

    def __init__(self, channels: int, lu: bool = True) -> None:
        super().__init__()
        rotation, _ = torch.linalg.qr(torch.randn(channels, channels, dtype=torch.float64))
        self.lu = lu
        if not lu:
            self.weight = nn.Parameter(rotation.float())
            return
        order, lower, upper = torch.linalg.lu(rotation)
        scale = upper.diagonal()
        self.register_buffer("order", order.float())
        self.register_buffer("sign", scale.sign().float())
        self.lower = nn.Parameter(lower.float())
        self.upper = nn.Parameter(upper.float())
        self.log_scale = nn.Parameter(scale.abs().log().float())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, ...) -> (B, C, ...) and the log-determinant (B,)."""
        return _mix(self.matrix(), x), self._log_det(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, ...) -> (B, C, ...) and the log-determinant (B,)."""
        return _mix(self.matrix().double().inverse().to(z.dtype), z), -self._log_det(z)

    def matrix(self) -> Tensor:
        """W, (C, C)."""
        if not self.lu:
            return self.weight
        with torch.autocast(self.lower.device.type, enabled=False):
            one = torch.eye(len(self.lower), dtype=self.lower.dtype, device=self.lower.device)
            lower = self.lower.tril(-1) + one
            upper = self.upper.triu(1) + (self.sign * self.log_scale.exp()).diag()
            return self.order @ lower @ upper

    def _log_det(self, x: Tensor) -> Tensor:
        pixels = x[0, 0].numel()
        if self.lu:
            return (self.log_scale.sum() * pixels).expand(len(x))
        return (torch.linalg.slogdet(self.weight.double())[1] * pixels).to(x.dtype).expand(len(x))


def _mix(matrix: Tensor, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return F.linear(x, matrix) if x.ndim == 2 else F.conv2d(x, matrix[:, :, None, None])
