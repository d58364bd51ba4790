"""The residual networks for CIFAR: ResNet-20, 32, 44, 56, 110.

He, Zhang, Ren, Sun 2015, arXiv:1512.03385, section 4.2.
"""

from __future__ import annotations

import re
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from timm.models import checkpoint_seq
from torch import Tensor, nn


class Block(nn.Module):
    """relu(x + bn(conv(relu(bn(conv(x)))))); a shortcut without parameters (option A)."""

    def __init__(self, channels: int, out: int, stride: int, drop_path: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.drop_path = DropPath(drop_path)
        self.stride, self.wider = stride, out - channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out, H / stride, W / stride)."""
        hidden = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.wider:  # every second pixel; zeros for the new channels
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.wider))
        return F.relu(x + self.drop_path(hidden))


class CIFARResNet(nn.Module):
    """A 3x3 stem and three stages of 16, 32, 64 channels: (B, C, H, W) -> (B, 64).

    With a linear head of ten classes ResNet-20 has 0.27 M parameters, ResNet-56 0.85 M,
    ResNet-110 1.7 M, as in the paper's table 6.

    Args:
        in_chans: number of image channels.
        depth: 6 n + 2, n blocks a stage.
        drop_path_rate: chance that the last block is skipped, growing linearly from 0 at the
            first (stochastic depth, Huang et al. 2016, arXiv:1603.09382).

    Raises:
        ValueError: a depth that is not 6 n + 2.
    """

    def __init__(self, in_chans: int = 3, depth: int = 20, drop_path_rate: float = 0.0) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"a CIFAR ResNet's depth is 8, 14, 20, 32, 56 ..., not {depth}")
        n, channels = (depth - 2) // 6, 16
        self.conv1 = nn.Conv2d(in_chans, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        stages = []
        for s, out in enumerate((16, 32, 64)):
            blocks = []
            for i in range(n):
                rate = drop_path_rate * (s * n + i) / (3 * n - 1)
                blocks.append(Block(channels, out, 2 if s and i == 0 else 1, rate))
                channels = out
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.num_features = self.head_hidden_size = channels
        self.grad_checkpointing = False
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_in", nonlinearity="relu")

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the blocks anew in the backward pass instead of keeping their activations."""
        self.grad_checkpointing = enable

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 64, H / 4, W / 4)."""
        x = F.relu(self.bn1(self.conv1(x)))
        blocks = [block for stage in self.stages for block in stage]  # type: ignore[attr-defined]
        return checkpoint_seq(blocks, x) if self.grad_checkpointing else self.stages(x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 64)."""
        return self.forward_features(x).mean((2, 3))

    def adapted(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state of akamaster's pytorch_resnet_cifar10 under this network's names and channels.

        Its shortcut puts half of the new channels before the old ones, half after: the channels of
        the second and third stage are in another order. Any other state is returned as it is; the
        marks are `layer1.0.conv1` of 16 channels and a head called `linear`.
        """
        first, head = state.get("layer1.0.conv1.weight"), state.get("linear.weight")
        if first is None or head is None or first.shape[:2] != (16, 16) or head.shape[1:] != (64,):
            return state
        old = torch.arange(16)  # where our channels are in theirs, of stages 1, 2, 3
        orders = [old]
        for new in (16, 32):
            old = torch.cat(
                [
                    old + new // 2,
                    torch.arange(new // 2),
                    torch.arange(new // 2) + len(old) + new // 2,
                ]
            )
            orders.append(old)
        made = {}
        for name, value in state.items():
            if stage := re.match(r"layer([123])\.(\d+)\.(\w+)\.", name):
                s, part = int(stage[1]) - 1, stage[3]
                if part == "conv1":  # the block's input
                    before = orders[max(s - 1, 0)] if stage[2] == "0" else orders[s]
                    value = value[:, before] if value.shape[1] == len(before) else value
                elif part in ("conv2", "bn2") and value.ndim:  # its output
                    value = value[orders[s]]
                name = f"stages.{s}.{name.partition('.')[2]}"
            elif name.startswith("linear."):
                name = name.replace("linear.", "head.")
                value = value[:, orders[2]] if value.ndim == 2 else value
            made[name] = value
        return made

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Stages (coarse) or blocks in order, as timm's networks tell them."""
        blocks = r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.(\d+)"
        return {"stem": r"^(?:conv1|bn1)", "blocks": blocks}
