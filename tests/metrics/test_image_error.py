"""Decibels of the mean error, not the mean of decibels."""

from __future__ import annotations

import pytest
import torch

from genlab.metrics import ImageError


def test_it_is_of_the_mean_error_over_batches() -> None:
    metric, target = ImageError(), torch.zeros(2, 1, 2, 2)
    metric.update(target + 0.1, target, target + 0.2)
    metric.update(target[:1] + 0.3, target[:1], target[:1] + 0.2)
    found = {name: float(value) for name, value in metric.compute().items()}
    assert found["psnr"] == pytest.approx(14.357, abs=1e-3)  # of (2 x .01 + .09) / 3
    assert found["psnr"] < (20 + 20 + 10.458) / 3
    assert found["psnr_baseline"] == pytest.approx(13.979, abs=1e-3)
    assert found["psnr_gain"] == pytest.approx(found["psnr"] - found["psnr_baseline"], abs=1e-5)


def test_only_pixels_that_are_asked_for_count() -> None:
    metric, target = ImageError(), torch.zeros(1, 3, 2, 2)
    output = target + torch.tensor([[0.1, 0.9], [0.9, 0.1]])
    here = torch.eye(2, dtype=torch.bool).view(1, 1, 2, 2)
    metric.update(output, target, output, here)
    assert float(metric.compute()["psnr"]) == pytest.approx(20, abs=1e-4)
    assert float(metric.compute()["psnr_gain"]) == 0
