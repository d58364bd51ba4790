"""WRN-d-k: published sizes, and what the FixMatch variant changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genlab.networks import encoder


@pytest.mark.parametrize(
    ("name", "classes", "count"),
    [
        ("wrn_28_2", 10, 1_467_610),  # FixMatch, table 4 of the appendix says 1.5 M
        ("wrn_16_8", 10, 10_961_370),  # the WRN paper's table 4: 11.0 M
        ("wrn_28_10", 10, 36_479_194),  # 36.5 M
        ("wrn_28_10", 100, 36_536_884),
    ],
)
def test_has_the_published_number_of_parameters(name: str, classes: int, count: int) -> None:
    network = encoder(name, 3, 32)
    whole = nn.ModuleList([network, nn.Linear(network.out_dim, classes)])
    assert sum(p.numel() for p in whole.parameters()) == count


@pytest.mark.parametrize("variant", ["paper", "fixmatch"])
def test_equals_a_plain_reading_of_the_sources(variant: str) -> None:
    network = encoder("wrn_16_2", 3, 16, variant=variant).train()
    net: Any = network.backbone
    slope, image = {"paper": 0.0, "fixmatch": 0.1}[variant], torch.rand(4, 3, 16, 16)

    def act(x: torch.Tensor, bn: Any) -> torch.Tensor:
        return F.leaky_relu(F.batch_norm(x, None, None, training=True, eps=bn.eps), slope)

    x = F.conv2d(image, net.conv1.weight, padding=1)
    for s, stage in enumerate(net.stages):
        for i, block in enumerate(stage):
            stride = 2 if s > 0 and i == 0 else 1
            a = act(x, block.bn1)
            hidden = F.conv2d(a, block.conv1.weight, stride=stride, padding=1)
            hidden = F.conv2d(act(hidden, block.bn2), block.conv2.weight, padding=1)
            before = a if i == 0 and (variant == "paper" or s == 0) else x
            if i == 0:
                before = F.conv2d(before, block.shortcut.weight, stride=stride)
            x = before + hidden
    torch.testing.assert_close(network(image), act(x, net.norm).mean((2, 3)), atol=1e-5, rtol=1e-5)


def test_the_fixmatch_variant_has_its_batch_norm() -> None:
    for variant, expected in (("fixmatch", (0.001, 1e-3)), ("paper", (0.1, 1e-5))):
        network = encoder("wrn_10_1", variant=variant)
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        assert len(norms) == 7
        assert {(m.momentum, m.eps) for m in norms} == {expected}


def test_convolutions_start_as_he_et_al_say() -> None:
    kernel = encoder("wrn_16_8", 3, 32).backbone.get_parameter("stages.2.1.conv2.weight")
    assert kernel.std().item() == pytest.approx((2 / (9 * kernel.shape[0])) ** 0.5, rel=0.01)


def test_dropout_sits_between_the_convolutions() -> None:
    image = torch.rand(2, 3, 16, 16)
    dropping, plain = encoder("wrn_10_1", 3, 16, drop_rate=0.5), encoder("wrn_10_1", 3, 16)
    assert torch.equal(plain(image), plain(image))
    assert not torch.equal(dropping(image), dropping(image))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [("wrn_20_2", {}, "10, 16, 22, 28"), ("wrn_10_1", {"variant": "x"}, "paper, fixmatch")],
)
def test_wrong_depths_and_variants_are_refused(
    name: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        encoder(name, **options)
