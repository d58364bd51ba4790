"""The spline of the lab is nflows' for parameters that are mapped from theirs to ours."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.networks.flows import splines
from tests.networks.flows.golden import first, second

SMALLEST = 1e-3  # of a bin's share and of a slope, in nflows


def mapped(width: Tensor, height: Tensor, slope: Tensor) -> Tensor:
    """Raw parameters of the lab for raw parameters of nflows: (K,), (K,), (K - 1,) -> (3K + 1,)."""
    shares = [SMALLEST + (1 - SMALLEST * len(raw)) * raw.softmax(0) for raw in (width, height)]
    logits = [share.log() - share.log().mean() for share in shares]
    flat = F.pad(shares[0] / shares[1], (1, 1), value=1.0)
    slopes = F.pad(SMALLEST + F.softplus(slope), (1, 1), value=1.0)
    factor = slopes * (flat[1:] + flat[:-1]) / 2
    raw = [splines.LOGIT * torch.atanh(logit / splines.LOGIT) for logit in logits]
    raw += [splines.FACTOR * torch.atanh(factor.log() / splines.FACTOR)]
    return torch.cat(raw)


def test_golden_value_of_nflows(monkeypatch: pytest.MonkeyPatch) -> None:
    """K = 8, bound 3, x = 1.234: 1.2061715414162901, log-slope -.3417080918 (nflows 0.14)."""
    monkeypatch.setattr(splines, "FACTOR", 2.0)  # slopes of the example are beyond the bound of 1
    raw = mapped(first(1, 8)[0], second(1, 8)[0], first(1, 7)[0])
    x = torch.tensor(1.234, dtype=torch.float64)
    y, log_slope = splines.spline(x, raw, 3.0)
    assert y.item() == pytest.approx(1.2061715414162901, abs=1e-12)
    assert log_slope.item() == pytest.approx(-0.3417080918, abs=1e-9)
    back, log_back = splines.inverse_spline(y, raw, 3.0)
    assert back.item() == pytest.approx(1.234, abs=1e-12)
    assert log_back.item() == pytest.approx(0.3417080918, abs=1e-9)
