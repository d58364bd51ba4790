"""Measurements of classifiers against closed forms of linear ones and of quadratics."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.data import Digits
from genlab.errors import RecipeError
from genlab.evaluation import measurements
from genlab.evaluation.attacks import fgsm, gradient_sign, pgd
from genlab.evaluation.measurements.hessian import top_eigenvalue
from genlab.evaluation.measurements.occlusion import occlusion_map
from genlab.metrics.spectrum import high_share, low_pass


class Linear(nn.Module):
    """Scores that are linear in the pixels."""

    device = torch.device("cpu")

    def __init__(self, size: int = 8, classes: int = 10) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, size * size))

    def logits(self, image: Tensor) -> Tensor:
        return image.flatten(1) @ self.weight.T


class Black(nn.Module):
    """Reconstructions that are black, or the image."""

    device = torch.device("cpu")

    def __init__(self, copies: bool) -> None:
        super().__init__()
        self.copies = copies

    def reconstruct(self, image: Tensor, **options: Any) -> Tensor:
        return image if self.copies else torch.zeros_like(image)


@pytest.fixture(scope="module")
def data() -> Digits:
    found = Digits(batch_size=64, val_size=200)
    found.setup("test")
    return found


@pytest.mark.parametrize("attack", [fgsm, pgd])
def test_attacks_on_a_linear_model_lower_the_margin_by_the_weights_sum(attack: Any) -> None:
    """Of two classes by epsilon |w_1 - w_0|_1, the most that any change of that size can."""
    model = Linear(classes=2)
    image, label = 0.25 + 0.5 * torch.rand(20, 1, 8, 8), torch.randint(2, (20,))
    changed = attack(model.logits, image, label, 0.1)

    def margin(x: Tensor) -> Tensor:
        return model.logits(x).diff(dim=1)[:, 0] * (2 * label - 1)

    fall = margin(image) - margin(changed)
    most = 0.1 * float(model.weight.detach().diff(dim=0).abs().sum())
    assert fall.tolist() == pytest.approx([most] * 20, rel=1e-4)
    assert float((changed - image).abs().max()) == pytest.approx(0.1, abs=1e-6)


def test_attacks_stay_within_the_range_of_pixels() -> None:
    model, image, label = Linear(), torch.rand(20, 1, 8, 8).round(), torch.arange(20) % 10
    for attack in (fgsm, pgd):
        changed = attack(model.logits, image, label, 0.3)
        assert 0 <= float(changed.min()) <= float(changed.max()) <= 1
    assert set(gradient_sign(model.logits, image, label).unique().tolist()) <= {-1, 0, 1}


def test_waves_pass_a_filter_whole_or_not_at_all() -> None:
    place = torch.arange(16.0)
    slow, fast = (torch.cos(2 * torch.pi * k * place / 16).expand(1, 1, 16, 16) for k in (2, 6))
    torch.testing.assert_close(low_pass(0.3 + slow + fast, 0.25), 0.3 + slow, atol=1e-5, rtol=0)
    torch.testing.assert_close(low_pass(slow + 0.3, 0), torch.full_like(slow, 0.3))
    assert high_share(slow + 2 * fast + 5).item() == pytest.approx(0.8)
    assert high_share(torch.ones(1, 1, 4, 4)).isnan().all()


def test_the_top_eigenvalue_of_a_quadratic_and_of_a_small_net_is_the_exact_one() -> None:
    a = torch.randn(12, 12, dtype=torch.float64)
    a = a + a.T
    x = torch.randn(12, dtype=torch.float64, requires_grad=True)
    found = top_eigenvalue(lambda: 0.5 * x @ a @ x, [x])
    assert found == pytest.approx(float(torch.linalg.eigvalsh(a)[-1]), rel=1e-6)
    inputs = torch.randn(30, 3, dtype=torch.float64)
    label = torch.randint(4, (30,))
    w1, w2 = (torch.randn(size, dtype=torch.float64) for size in ((5, 3), (4, 5)))

    def loss(first: Tensor, second: Tensor) -> Tensor:
        return F.cross_entropy((inputs @ first.T).tanh() @ second.T, label)

    rows = torch.autograd.functional.hessian(loss, (w1, w2))
    whole = torch.cat([
        torch.cat([part.reshape(n, -1) for part in row], 1)
        for row, n in zip(rows, (15, 20), strict=True)
    ])  # fmt: skip
    weights = [w1.requires_grad_(), w2.requires_grad_()]
    found = top_eigenvalue(lambda: loss(*weights), weights)
    assert found == pytest.approx(float(torch.linalg.eigvalsh(whole)[-1]), rel=1e-4)


def test_an_occlusion_map_finds_the_one_pixel_that_is_read() -> None:
    image = torch.zeros(1, 1, 8, 8)
    image[..., 5, 2] = 1

    def logits(x: Tensor) -> Tensor:
        return torch.stack([20 * x[:, 0, 5, 2] - 15, torch.zeros(len(x))], 1)

    found = occlusion_map(logits, image, torch.zeros(1, dtype=torch.long), 2, grey=0)
    whole = 1 / (1 + torch.tensor(-5.0).exp()) - 1 / (1 + torch.tensor(15.0).exp())
    assert found.shape == (1, 7, 7)
    hit = torch.zeros(7, 7)
    hit[4:6, 1:3] = whole  # rows 4-5 and 5-6, columns 1-2 and 2-3
    torch.testing.assert_close(found[0], hit, atol=1e-6, rtol=0)


def test_measurements_of_a_classifier_of_digits(data: Digits) -> None:
    model = Linear()
    for name in ("adversarial", "bands", "occlusion", "hessian"):
        found = measurements.measure(name, model, data)
        assert found.figures
        assert all(x.shape[1:] == (1, 8, 8) and 0 <= x.min() <= x.max() <= 1
                   for x in found.shown.values())  # fmt: skip
    attacked = measurements.measure("adversarial", model, data).figures
    assert attacked["fgsm_32_accuracy"] <= attacked["fgsm_4_accuracy"]


@pytest.mark.parametrize(("copies", "removed"), [(True, 0.0), (False, 0.0)])
def test_a_patch_that_stays_is_not_removed(data: Digits, copies: bool, removed: float) -> None:
    found = measurements.measure("occlusion", Black(copies), data).figures
    assert found["occlusion_removed"] == pytest.approx(removed)


def test_what_cannot_be_measured_is_refused(data: Digits) -> None:
    with pytest.raises(RecipeError, match=r"(?s)unknown measurement hesian.*hessian"):
        measurements.check(["hesian"])
    with pytest.raises(ValueError, match="Black is not a classifier"):
        measurements.measure("bands", Black(True), data)
    with pytest.raises(ValueError, match="neither classifies nor reconstructs"):
        measurements.measure("occlusion", nn.Identity(), data)
