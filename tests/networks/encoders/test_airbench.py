"""The small network of airbench: sizes, features, layers, and that its switches do something."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genlab.networks.encoders.airbench import Airbench
from genlab.networks.encoders.freezing import layer_groups


def test_parameters_are_those_of_the_source_with_its_widths() -> None:
    def count(module: nn.Module, dims: int) -> int:
        return sum(p.numel() for p in module.parameters() if p.ndim == dims)

    # the source's convolutions after the stem, from its 24 whitened channels on
    assert count(Airbench(widths=(64, 256, 256)).blocks, 4) == 9 * (
        24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256
    )
    assert sum(p.numel() for p in Airbench().parameters()) == 497_208


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32), (2, 40)])
def test_features_are_the_largest_values_of_the_last_map(channels: int, size: int) -> None:
    network = Airbench(channels, 4, [8, 8, 12]).eval()
    image = torch.rand(2, channels, size, size)
    maps = network.forward_features(image)
    assert maps.shape == (2, 12, size // 8, size // 8)
    torch.testing.assert_close(network(image), maps.flatten(2).max(2).values / 9)


def test_the_scale_scales() -> None:
    network = Airbench(3, 4, [8]).eval()
    image = torch.rand(2, 3, 16, 16)
    before, network.scale = network(image), 1.0
    torch.testing.assert_close(network(image), before * 9)


def test_every_block_is_a_layer() -> None:
    groups = layer_groups(Airbench(3, 4, [8, 8, 8]))
    assert [group[0].rsplit(".", 2)[0] for group in groups] == [
        "stem", "blocks.0", "blocks.1", "blocks.2"]  # fmt: skip


@pytest.mark.parametrize("options", [{"widths": []}, {"widths": [8, 0]}, {"stem_width": 0}])
def test_impossible_widths_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="widths of at least 1"):
        Airbench(**options)  # type: ignore[arg-type]
