"""The penalty is per image, can be trained through, and is in single precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from genlab.losses import between, gradient_norm, gradient_penalty, scores_and_slopes


def curved(image: Tensor) -> Tensor:
    """A score whose gradient is known: the sum of cubes, (B, C, H, W) -> (B,)."""
    return image.pow(3).flatten(1).sum(1)


def test_the_norm_is_that_of_each_image() -> None:
    image = torch.randn(5, 2, 3, 3, dtype=torch.float64)
    slow = [(3 * x.square()).square().sum().sqrt() for x in image]
    found = gradient_norm(curved, image)
    torch.testing.assert_close(found, torch.stack(slow))
    whole = (3 * image.square()).square().sum().sqrt()  # the mistake: one norm of the whole batch
    assert abs(gradient_penalty(found) - gradient_penalty(whole[None])) > 1


def test_one_share_a_sample_from_fake_to_real() -> None:
    real, fake = torch.randn(2, 6, 3, 4, 4)
    share = torch.linspace(0, 1, 6)
    mixed = between(real, fake, share)
    torch.testing.assert_close(mixed[0], fake[0])
    torch.testing.assert_close(mixed[5], real[5])
    where = (mixed - fake) / (real - fake)  # the same at every pixel of every colour
    torch.testing.assert_close(where, share.view(6, 1, 1, 1).expand_as(where), atol=1e-3, rtol=0)
    assert between(real.flatten(1), fake.flatten(1), share).shape == (6, 48)


def test_the_weights_of_a_linear_critic_move_towards_norm_one() -> None:
    """Penalty (|w| - 1)^2, its gradient 2 (|w| - 1) w / |w|: needs the graph of the gradient."""
    critic = nn.Linear(8, 1, dtype=torch.float64)
    image = torch.randn(4, 2, 2, 2, dtype=torch.float64)
    w, length = critic.weight, critic.weight.norm()
    penalty = gradient_penalty(gradient_norm(lambda x: critic(x.flatten(1))[:, 0], image))
    assert penalty.item() == pytest.approx((length.item() - 1) ** 2)
    penalty.backward()
    assert w.grad is not None
    torch.testing.assert_close(w.grad, (2 * (length - 1) * w / length).detach())


def test_one_sided_forgives_gentle_slopes() -> None:
    norm = torch.tensor([0.0, 0.5, 1.0, 3.0])
    assert gradient_penalty(norm).item() == pytest.approx((1 + 0.25 + 0 + 4) / 4)
    assert gradient_penalty(norm, one_sided=True).item() == pytest.approx(1.0)


def test_a_flat_critic_gives_finite_gradients() -> None:
    weight = torch.zeros(8, requires_grad=True)
    norm = gradient_norm(lambda x: x.flatten(1) @ weight, torch.randn(3, 2, 2, 2))
    assert torch.equal(norm, torch.zeros(3))
    gradient_penalty(norm).backward()
    assert weight.grad is not None
    assert weight.grad.isfinite().all()


def test_autocast_does_not_touch_it() -> None:
    critic = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.Softplus(), nn.Linear(32, 1))
    image, found = torch.randn(4, 1, 4, 4), []
    for enabled in (False, True):
        critic.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            norm = gradient_norm(lambda x: critic(x)[:, 0], image)
        gradient_penalty(norm).backward()  # inside, autocast would round the second derivative
        found.append([p.grad for p in critic.parameters()])
    for plain, rounded in zip(*found, strict=True):
        assert plain is None or torch.equal(plain, rounded)


def test_it_works_where_gradients_are_off_and_leaves_the_image_alone() -> None:
    image = torch.randn(3, 1, 2, 2)
    with torch.no_grad():
        norm = gradient_norm(curved, image)
    torch.testing.assert_close(norm.detach(), gradient_norm(curved, image).detach())
    assert not image.requires_grad


def test_squared_slopes_are_sums_of_each_image_in_single_precision() -> None:
    image = torch.randn(5, 2, 3, 3, dtype=torch.float64)
    scores, slopes = scores_and_slopes(curved, image)
    torch.testing.assert_close(scores, curved(image))
    torch.testing.assert_close(slopes, (3 * image.square()).square().flatten(1).sum(1))
    layer = nn.Linear(18, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = scores_and_slopes(lambda x: layer(x.flatten(1))[:, 0], image.bfloat16())
    assert {x.dtype for x in narrow} == {torch.float32}
    narrow[1].mean().backward()  # by the weights: (2 |w|^2)' = 2 w
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, 2 * layer.weight.detach())
