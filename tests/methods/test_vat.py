"""VAT: directions against exact derivatives, and batch norm that does not see perturbed images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab import losses
from genlab.methods.vat import unit
from tests.methods.programs_few_labels import K, M, batch, doubled, norms, small


class Smooth(nn.Module):
    """Scores with derivatives everywhere, in the place of a network."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first, self.last = (
            torch.randn(shape, generator=generator, dtype=torch.float64)
            for shape in ((64, 16), (16, K))
        )

    def forward(self, image: Tensor) -> Tensor:
        h = (image.flatten(1) @ self.first.to(image) / 4).tanh()
        return h @ self.last.to(image)


def smooth(**options: float) -> Any:
    method, network = small("vat", **options), Smooth()
    method.logits = lambda image: network(image)
    return method


def exact(image: Tensor, d: Tensor, times: int) -> Tensor:
    """Power iteration by the Hessian of each image's KL divergence, from its own rows."""
    network = Smooth()
    found = []
    for x, start in zip(image.double(), d.double(), strict=True):
        p = network(x[None])[0].softmax(0)

        def divergence(r: Tensor, x: Tensor = x, p: Tensor = p) -> Tensor:
            q = network((x + r.view_as(x))[None])[0].softmax(0)
            return (p * (p.log() - q.log())).sum()

        hessian = torch.autograd.functional.hessian(divergence, torch.zeros(64).double())
        v = start.flatten()
        for _ in range(times):
            v = hessian @ (v / v.norm())
        found.append((v / v.norm()).view_as(x))
    return torch.stack(found)


@pytest.mark.parametrize("times", [1, 3])
def test_the_direction_is_that_of_the_hessian(times: int) -> None:
    x = batch()["unlabeled"]["views"][0]
    method = smooth(power_iterations=times, radius=1.5)
    torch.manual_seed(3)
    found = method.perturbation(x, method.logits(x))
    torch.manual_seed(3)
    expected = exact(x, torch.randn_like(x), times)
    cosine = (unit(found).double() * expected).flatten(1).sum(1)
    assert cosine.min() > 0.99
    torch.testing.assert_close(found.flatten(1).norm(dim=1), torch.full((M,), 1.5))


def test_the_papers_step_is_lost_in_float32() -> None:
    """Of 1e-6, and not in float64: the default is 1e-3."""
    x = batch()["unlabeled"]["views"][0]
    cosines = {}
    for name, image in {"float32": x, "float64": x.double()}.items():
        method = smooth(step=1e-6)
        torch.manual_seed(3)
        d = torch.randn_like(image)
        torch.manual_seed(3)
        found = method.perturbation(image, method.logits(image))
        cosines[name] = (unit(found).double() * exact(x, d, 1)).flatten(1).sum(1).mean()
    assert cosines["float64"] > 0.999
    assert cosines["float32"] < 0.95
    assert small("vat").step == 1e-3


def test_more_iterations_move_the_prediction_further_than_chance() -> None:
    x = batch()["unlabeled"]["views"][0]
    moved = []
    for times in (1, 5):
        method = smooth(power_iterations=times, radius=0.1)
        logits = method.logits(x)
        torch.manual_seed(3)
        r = method.perturbation(x, logits)
        moved.append(losses.prediction_kl(logits, method.logits(x + r)).mean())
    chance = losses.prediction_kl(logits, method.logits(x + 0.1 * unit(torch.randn_like(x))))
    assert moved[1] > moved[0] > 2 * chance.mean()


def test_the_loss_is_that_of_a_slow_reference() -> None:
    method, given = (
        small("vat", entropy_weight=0.5, unlabeled_weight=0.7).double(),
        doubled(batch()),
    )
    x = given["unlabeled"]["views"][0]
    torch.manual_seed(5)
    out = method.training_step(given, 0)
    torch.manual_seed(5)
    labelled = method.logits(given["labeled"]["image"]).softmax(1)
    p = method.logits(x).softmax(1)
    d = torch.randn(x.shape)
    torch.manual_seed(5)
    q = method.logits(x + method.perturbation(x.float(), method.logits(x))).softmax(1)
    assert d.shape == x.shape
    nll = -sum(row[k].log() for row, k in zip(labelled, range(4), strict=True)) / 4
    kl = sum((a * (a / b).log()).sum() for a, b in zip(p, q, strict=True)) / M
    entropy = -sum((a * a.log()).sum() for a in p) / M
    torch.testing.assert_close(out["loss_labeled"].double(), nll, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(out["loss_unlabeled"].double(), kl, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(out["prediction_entropy"].double(), entropy, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        out["loss"].double(), nll + 0.7 * kl + 0.5 * entropy, rtol=1e-3, atol=1e-5
    )


def test_running_statistics_are_those_of_the_unlabelled_images() -> None:
    method, other, given = small("vat"), small("vat"), batch()
    method.training_step(given, 0)
    other.logits(given["unlabeled"]["views"][0])
    for mine, theirs in zip(norms(method), norms(other), strict=True):
        torch.testing.assert_close(mine, theirs)
    counted = [int(v) for k, v in method.state_dict().items() if k.endswith("_tracked")]
    assert set(counted) == {1}
    parts = [part for part in method.modules() if isinstance(part, nn.BatchNorm2d)]
    assert all(part.track_running_stats for part in parts)


def test_the_prediction_on_the_image_is_a_target() -> None:
    """No gradient goes through it: with the perturbed scores held there is none at all."""
    method, given = small("vat"), batch()
    held = method.perturbed_logits
    method.perturbed_logits = lambda image: held(image).detach() + 0 * image.sum()
    with pytest.raises(RuntimeError, match="does not require grad"):
        method.training_step(given, 0)["loss_unlabeled"].backward()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"radius": 0.0}, "radius must be above 0"), ({"step": -1.0}, "step must be above 0"),
        ({"power_iterations": 0}, "power_iterations must be at least 1"),
        ({"entropy_weight": -1.0}, "entropy_weight must be at least 0"),
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small("vat", **options)
