"""CIFAR ResNets of akamaster's pytorch_resnet_cifar10 load with the channels in our order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.checkpoints import load_backbone
from genlab.errors import CheckpointError
from genlab.methods import Classifier
from genlab.networks.encoders.cifar_resnet import CIFARResNet
from tests.checkpoints.foreign.test_neighbours import shaken


class Block(nn.Module):
    """akamaster's block: half of the shortcut's new channels before the old ones, half after."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.new = stride, out - channels

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        half = self.new // 2
        return F.relu(h + F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half)))


class Theirs(nn.Module):
    """The network, with akamaster's names."""

    def __init__(self, n: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        for s, (channels, out) in enumerate(((16, 16), (16, 32), (32, 64))):
            first = Block(channels, out, 2 if s else 1)
            stage = nn.Sequential(first, *(Block(out, out, 1) for _ in range(n - 1)))
            self.add_module(f"layer{s + 1}", stage)
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for number in (1, 2, 3):
            x = self.get_submodule(f"layer{number}")(x)
        return self.linear(x.mean((2, 3)))


def written(folder: Path, **changes: str) -> tuple[Theirs, str]:
    """The network and its file, as their trainer writes it, with other names for some parts."""
    theirs = shaken(Theirs())
    state = theirs.state_dict()
    for old, new in changes.items():
        state = {name.replace(f"{old}.", f"{new}."): value for name, value in state.items()}
    file = folder / "resnet20-12fca82f.th"
    wrapped = {f"module.{name}": value for name, value in state.items()}
    torch.save({"state_dict": wrapped, "best_prec1": 91.73}, file)
    return theirs, str(file)


def test_logits_are_theirs(tmp_path: Path) -> None:
    theirs, file = written(tmp_path)
    plain = {"normalize": {"mean": [0.0] * 3, "std": [1.0] * 3}}
    made = Classifier(
        10, 3, 32, "resnet20_cifar", pretrained=file, head="file", encoder_kwargs=plain
    )
    image = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(made.eval().logits(image), theirs(image), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("changes", [{"linear": "fc"}, {"layer1": "block1"}])
def test_without_the_layouts_marks_it_is_refused(changes: dict[str, str], tmp_path: Path) -> None:
    _, file = written(tmp_path, **changes)
    model: Any = CIFARResNet()
    with pytest.raises(CheckpointError, match="90 % are needed"):
        load_backbone(model, file)


def test_shortcuts_with_weights_are_refused(tmp_path: Path) -> None:
    """Option B has the same names, and a convolution in its shortcuts."""
    theirs, _ = written(tmp_path)
    more = {"layer2.0.shortcut.0.weight": torch.rand(32, 16, 1, 1)}
    torch.save(theirs.state_dict() | more, tmp_path / "b.th")
    with pytest.raises(CheckpointError, match=r"no place for 1: stages.1.0.shortcut.0.weight"):
        load_backbone(CIFARResNet(), tmp_path / "b.th")
