"""The critic of patches: what a score sees, and that images do not mix."""

from __future__ import annotations

import pytest
import torch

from genlab.networks.gan.patch_critics import PATCH_NORMS, PatchCritic, patch_critic


@pytest.mark.parametrize(("layers", "seen"), [(1, 16), (2, 34), (3, 70)])
def test_receptive_field(layers: int, seen: int) -> None:
    critic = PatchCritic(1, 2, layers).double()
    for p in critic.parameters():
        torch.nn.init.ones_(p)
    image = torch.zeros(1, 1, 128, 128, dtype=torch.float64, requires_grad=True)
    scores = critic(image)
    middle = scores.shape[-1] // 2
    (slope,) = torch.autograd.grad(scores[0, 0, middle, middle], image)
    assert int(slope[0, 0].abs().sum(0).ne(0).sum()) == seen


@pytest.mark.parametrize("norm", PATCH_NORMS)
def test_a_score_depends_on_its_own_image_alone(norm: str) -> None:
    critic = patch_critic(1, 28, width=4, norm=norm).train()
    image = torch.randn(3, 1, 28, 28, requires_grad=True)
    critic(image)  # spectral norm's vectors move in each pass
    (slope,) = torch.autograd.grad(critic(image)[0].sum(), image)
    assert slope[0].abs().sum() > 0
    assert not slope[1:].any()


def test_batch_norm_and_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="batch norm"):
        patch_critic(1, 28, norm="batch")
    with pytest.raises(ValueError, match="32 px or more"):
        patch_critic(1, 28, layers=3)
    assert patch_critic(1, 8, width=4)(torch.zeros(1, 1, 8, 8)).shape == (1, 1, 2, 2)
    assert patch_critic(1, 28, width=4)(torch.zeros(1, 1, 28, 28)).shape == (1, 1, 5, 5)
