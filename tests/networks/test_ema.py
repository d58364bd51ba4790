"""The running average of weights: values, buffers, and what training may not touch."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn

from genlab.networks import EMA
from genlab.networks.ema import cosine_to_one, ema_copy, ema_step


def test_follows_the_recurrence_with_its_warm_up() -> None:
    module = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(module.weight)
    ema, expected = EMA(module, 0.9), 0.0
    for step in range(1, 31):
        nn.init.constant_(module.weight, float(step))
        ema.update(module, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    average = next(ema.parameters())
    assert average.flatten().tolist() == pytest.approx([expected] * 2, rel=1e-5)


def test_buffers_are_copied_and_mode_and_gradient_stay_off() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    ema = EMA(module, 0.99)
    module.train()(torch.randn(8, 3))
    ema.train().update(module, 1)
    for name, buffer in module.named_buffers():
        assert torch.equal(dict(ema.average.named_buffers())[name], buffer)
    assert not any(m.training for m in ema.modules())
    assert not any(p.requires_grad for p in ema.parameters())


def test_a_state_dict_holds_all_of_it() -> None:
    module = nn.Linear(2, 2)
    ema = EMA(module, 0.5)
    nn.init.ones_(module.weight)
    ema.update(module, 1)
    other = EMA(nn.Linear(2, 2), 0.5)
    other.load_state_dict(ema.state_dict())
    x = torch.randn(3, 2)
    assert torch.equal(other(x), ema(x))


def test_decay_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ema_decay must be in \[0, 1\), got 1.0"):
        EMA(nn.Linear(1, 1), 1.0)


def test_a_momentum_copy_moves_by_parameters_only() -> None:
    module = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    average = ema_copy(module)
    assert average.training
    nn.init.zeros_(next(average.parameters()))
    nn.init.ones_(next(module.parameters()))
    module(torch.randn(4, 1))
    for _ in range(10):
        ema_step(average, module, 0.9)
    found = next(average.parameters())
    assert float(found) == pytest.approx(0.6513215599, abs=1e-6)  # 1 - 0.9 ** 10
    assert int(average.state_dict()["1.num_batches_tracked"]) == 0
    assert not found.requires_grad


def test_the_cosine_ends_at_exactly_one() -> None:
    found = [cosine_to_one(0.996, step, 10) for step in range(11)]
    assert found[:3] == pytest.approx([0.996, 0.9960978869674, 0.9963819660112], abs=1e-12)
    assert found[-1] == 1.0
    assert cosine_to_one(0.996, 11, 10) == 1.0


def test_a_copy_without_noise_says_one_thing_of_an_image_in_train_mode_too() -> None:
    vit: Any = timm.create_model(
        "vit_tiny_patch16_224", img_size=8, patch_size=4, embed_dim=16, depth=2, num_heads=2,
        drop_path_rate=0.3, proj_drop_rate=0.2, attn_drop_rate=0.2, patch_drop_rate=0.5,
    )  # fmt: skip
    image = torch.rand(4, 3, 8, 8)
    noisy, still = ema_copy(vit).train(), ema_copy(vit, noise=False).train()
    assert not torch.equal(noisy(image), noisy(image))
    assert torch.equal(still(image), still(image))
    torch.testing.assert_close(still(image), vit.eval()(image))
    assert not torch.equal(vit.train()(image), vit(image))  # the module itself is as it was
