"""Measurements of trained norms, of encoders' depths and of classes given to decoders."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab import networks
from genlab.data import Digits
from genlab.evaluation import measurements
from genlab.evaluation.judges import Judge
from genlab.evaluation.measurements.depths import decoded


@pytest.fixture(scope="module")
def data() -> Digits:
    found = Digits(batch_size=64, val_size=200)
    found.setup("test")
    return found


def normed() -> Any:
    model: Any = nn.Sequential(nn.BatchNorm2d(6), nn.Conv2d(6, 4, 1), nn.BatchNorm2d(4))
    for one in (model[0], model[2]):
        one.running_mean.normal_()
        one.running_var.uniform_(0.5, 4)
    return model


def test_norms_that_restore_what_they_take_are_told_from_new_ones() -> None:
    model = normed()
    new = measurements.measure("norms", model, None).figures
    assert new["norms_read"] == 2
    assert new["norms_restored"] == pytest.approx(0)
    assert new["gamma_correlation"] == 0
    with torch.no_grad():
        for one in (model[0], model[2]):
            one.weight.copy_((one.running_var + one.eps).sqrt())
            one.bias.copy_(one.running_mean)
    found = measurements.measure("norms", model, None).figures
    for name in ("gamma_correlation", "beta_correlation", "gamma_ratio", "norms_restored"):
        assert found[name] == pytest.approx(1, abs=1e-6), name
    x = torch.randn(5, 6, 3, 3)
    torch.testing.assert_close(model.eval()[0](x), x)
    with pytest.raises(ValueError, match="has no batch norm"):
        measurements.measure("norms", nn.Linear(2, 2), None)


def test_an_image_is_decoded_from_itself_and_not_from_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    image, test = (torch.rand(n, 1, 6, 6, generator=generator) for n in (300, 100))
    own = decoded(image, image, test, steps=300)
    other = decoded(torch.randn(300, 2, 6, 6, generator=generator), image,
                    torch.randn(100, 2, 6, 6, generator=generator), steps=50)  # fmt: skip
    spread = (test - image.mean(0)).square().mean()
    assert float((own - test).square().mean() / spread) < 0.05
    assert float((other - test).square().mean() / spread) > 0.95


def test_depths_of_an_encoder(data: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    from genlab.evaluation.measurements import depths

    monkeypatch.setattr(depths, "STEPS", 2)
    model: Any = nn.Module()
    model.encoder = networks.encoder("small_cnn", 1, 8, width=4)
    model.device = torch.device("cpu")
    found = measurements.measure("depths", model, data)
    assert found.figures["decoded_1_numbers"] > found.figures["decoded_2_numbers"]
    assert len(found.shown) == 1 + sum(one.endswith("_numbers") for one in found.figures)
    with pytest.raises(ValueError, match="has no encoder"):
        measurements.measure("depths", nn.Linear(2, 2), data)


class Swaps(nn.Module):
    """Images whose first pixel is the class that is given, or the image's own class."""

    device = torch.device("cpu")

    def __init__(self, given: bool) -> None:
        super().__init__()
        self.given = given

    def swap_styles(self, image: Tensor, label: Tensor) -> Tensor:
        swapped = image[:, None].repeat(1, 10, 1, 1, 1)
        classes = torch.arange(10).expand(len(image), -1) if self.given else label[:, None]
        swapped[:, :, 0, 0, 0] = classes / 10 + 0.05
        return swapped


def first_pixel(image: Tensor) -> tuple[Tensor, Tensor]:
    place = (image[:, 0, 0, 0].float() / 25.5).long()
    return image.flatten(1).float(), nn.functional.one_hot(place, 10).float()


@pytest.mark.parametrize("given", [True, False])
def test_swaps_tell_the_class_that_is_given_from_the_image_s_own(data: Digits, given: bool) -> None:
    judge = Judge("pixel", "the first pixel", 64, 10, 1, 8, first_pixel)
    found: dict[str, Any] = measurements.measure("class_swap", Swaps(given), data, judge).figures
    assert (found["swap_given"], found["swap_own"]) == ((1, 0) if given else (0, 1))
    z2 = 1.959964**2  # Wilson's interval of n of n: n / (n + z^2) to 1
    low, high = found["swap_given_low"], found["swap_given_high"]
    edge = 300 / (300 + z2)
    assert (low, high) == pytest.approx((edge, 1) if given else (0, 1 - edge), abs=1e-6)
    with pytest.raises(ValueError, match="requires --judge with a classifier"):
        measurements.measure("class_swap", Swaps(given), data)
