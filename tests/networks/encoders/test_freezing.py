"""Frozen stages: no gradient, no batch statistics, no dropout; the rest trains."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from genlab.networks import encoder

NETWORKS = ["resnet10t", "efficientnet_lite0", "vit_tiny_patch16_224", "wrn_10_1", "small_cnn"]


@pytest.mark.parametrize("name", [*NETWORKS, "lenet", "nin", "resnet8_cifar", "convmixer_64_2"])
def test_stages_are_all_parameters_in_order(name: str) -> None:
    network = encoder(name, 3, 32)
    every = [key for group in network.layer_groups for key in group]
    assert sorted(every) == sorted(key for key, _ in network.backbone.named_parameters())
    assert every[0] == next(key for key, _ in network.backbone.named_parameters())
    assert len(network.layer_groups) >= 3


@pytest.mark.parametrize("stages", [0, 2, "all"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_moves_what_is_not_frozen_and_nothing_else(name: str, stages: int | str) -> None:
    # a branch that starts at zero would pass no gradient on
    options: dict[str, Any] = {"zero_init_last": False} if name == "resnet10t" else {}
    network = encoder(name, 3, 32, **options)
    network.freeze(stages)
    network.train()
    before = copy.deepcopy(network.backbone.state_dict())
    trained = [p for p in network.parameters() if p.requires_grad]
    loss = network(torch.rand(4, 3, 32, 32)).square().sum()
    if trained:
        loss.backward()
        torch.optim.SGD(trained, 0.01, weight_decay=0.1).step()
    last = None if stages == "all" else int(stages)
    kept = {key for group in network.layer_groups[:last] for key in group}
    modules = {key.rpartition(".")[0] for key in kept}
    for key, value in network.backbone.state_dict().items():
        frozen = key in kept or (key.rpartition(".")[0] in modules and "running" in key)
        moved = not torch.equal(value, before[key])
        if frozen:
            assert not moved, f"{key} is frozen and moved"
        elif not key.endswith(("tracked", "k_bias")):
            assert moved, f"{key} is trained and did not move"


def test_dropout_of_a_frozen_part_is_off() -> None:
    network, image = encoder("wrn_16_1", 3, 16, drop_rate=0.5), torch.rand(2, 3, 16, 16)
    assert not torch.equal(network.train()(image), network(image))
    network.freeze("all")
    assert torch.equal(network.train()(image), network(image))


@pytest.mark.parametrize("stages", [-1, 99, "most", 1.5])
def test_other_numbers_of_stages_are_refused(stages: int | str) -> None:
    with pytest.raises(ValueError, match="freeze must be 0 to 5 stages or 'all'"):
        encoder("resnet10t", 3, 32).freeze(stages)
