"""M2: its bounds against sums by hand and against the integral that they bound."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.methods.programs_few_labels import K, M, batch, doubled, norms, small


def by_hand(method: Any, image: Tensor, k: int, noise: Tensor) -> Tensor:
    """Log p(x|y, z) + log p(y) + log p(z) - log q(z|x, y) at one draw, of one image."""
    label = torch.tensor([k])
    mean, logvar = (part[0] for part in method.encode(image[None], label))
    z = mean + (logvar / 2).exp() * noise
    p = 1 / (1 + torch.exp(-method._maps(z[None], label)[0]))
    pixels = (image * p.log() + (1 - image) * (1 - p).log()).sum()
    kl = sum((m**2 + v.exp() - 1 - v) / 2 for m, v in zip(mean, logvar, strict=True))
    return pixels - kl + math.log(1 / K)


def test_both_bounds_are_those_of_a_slow_reference() -> None:
    method, given = small("m2").double(), doubled(batch())
    x, noise = given["unlabeled"]["views"][0], torch.randn(M, 3, dtype=torch.float64)
    method.eval()
    q = method.logits(x).softmax(1)
    expected = []
    for i in range(M):
        each = [by_hand(method, x[i], k, noise[i]) for k in range(K)]
        inside = sum(q[i, k] * (each[k] - q[i, k].log()) for k in range(K))
        expected.append(inside)
        label = torch.tensor([1])
        found = method.bound(x[i : i + 1], label, noise[i : i + 1])
        torch.testing.assert_close(found[0].double(), each[1], rtol=1e-5, atol=1e-4)
    found = method.marginal_bound(x, noise)
    torch.testing.assert_close(found.double(), torch.stack(expected), rtol=1e-5, atol=1e-4)


def test_the_loss_counts_every_image_once() -> None:
    method, given = small("m2", class_weight=0.3), batch()
    out = method.training_step(given, 0)
    both = (4 * out["loss_labeled"] + 12 * out["loss_unlabeled"]) / 16
    torch.testing.assert_close(out["loss"], both + 0.3 * out["loss_classification"])


def test_batch_norm_sees_all_images_in_one_pass() -> None:
    """Of labelled and unlabelled images together: the statistics and the losses are theirs."""
    method, given = small("m2"), batch()
    x = given["unlabeled"]["views"][0]
    every = torch.cat([given["labeled"]["image"], x])
    method.logits(every)
    expected = norms(method)

    method = small("m2")
    method.training_step(given, 0)
    counts = [v for k, v in method.state_dict().items() if k.endswith("num_batches_tracked")]
    assert counts
    assert all(count == 1 for count in counts)
    torch.testing.assert_close(norms(method), expected)

    method, label = small("m2"), given["labeled"]["label"]
    logits = method.logits(every)
    torch.manual_seed(5)
    method.bound(given["labeled"]["image"], label)  # takes the draws before
    unlabeled = -method.marginal_bound(x, logits=logits[4:]).mean()
    torch.manual_seed(5)
    out = method.training_step(given, 0)
    entropy = torch.nn.functional.cross_entropy(logits[:4], label)
    torch.testing.assert_close(out["loss_classification"], entropy)
    torch.testing.assert_close(out["loss_unlabeled"], unlabeled)


def test_the_mean_bound_is_below_the_integral() -> None:
    """The density p(x) by 20,000 draws of the prior in each class, in one latent dimension."""
    method = small("m2", latent_dim=1).double().eval()
    x = batch()["labeled"]["image"][:1].double()
    z = torch.randn(20_000, 1, dtype=torch.float64)
    logs = []
    for k in range(K):
        label = torch.full((len(z),), k)
        nll = method._nll(z, x.expand(len(z), -1, -1, -1), label)
        logs.append((-nll).logsumexp(0) - math.log(len(z)) + math.log(1 / K))
    truth = torch.stack(logs).logsumexp(0)
    noise = torch.randn(2_000, 1, dtype=torch.float64)
    bound = method.marginal_bound(x.expand(2_000, -1, -1, -1), noise).mean()
    assert truth - 10 < bound < truth


def test_gradients_reach_every_network() -> None:
    method = small("m2")
    method.training_step(batch(), 0)["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


def test_the_unlabelled_bound_teaches_the_classifier() -> None:
    method = small("m2", class_weight=0.0)
    out = method.training_step(batch(), 0)
    (gradient,) = torch.autograd.grad(out["loss_unlabeled"], method.head.weight)
    assert gradient.abs().sum() > 0


def test_what_it_draws_has_the_classes_asked_for() -> None:
    method = small("m2").eval()
    image, label = batch()["labeled"]["image"], batch()["labeled"]["label"]
    assert method.sample(7).shape == (7, 1, 8, 8)
    rows = method.swap_styles(image, label)
    assert rows.shape == (4, K, 1, 8, 8)
    own = rows[torch.arange(4), label]
    torch.testing.assert_close(own, method.reconstruct(image, label))
    assert not torch.equal(rows[:, 0], rows[:, 1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"latent_dim": 0}, "latent_dim 0 must be at least 1"),
        ({"class_weight": -1.0}, "class_weight must be at least 0"),
        ({"likelihood": "poisson"}, "poisson"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small("m2", **options)
