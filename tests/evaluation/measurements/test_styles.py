"""Summaries of feature maps: closed forms, what they cannot see, textures of one mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from genlab import networks
from genlab.data import Digits
from genlab.evaluation import measurements
from genlab.evaluation.measurements import styles


def test_summaries_by_numpy() -> None:
    x = torch.randn(3, 4, 5, 6)
    flat = x.flatten(2).numpy()
    for row in range(3):
        products = np.cov(flat[row], bias=True) + np.outer(flat[row].mean(1), flat[row].mean(1))
        expected = products[np.triu_indices(4)]
        np.testing.assert_allclose(styles.gram(x)[row], expected, atol=1e-5)
        edges = [-np.inf, *np.linspace(-2, 2, 9)[1:-1], np.inf]
        counts = [np.histogram(channel, edges)[0] / 30 for channel in flat[row]]
        np.testing.assert_allclose(styles.histogram(x)[row], np.concatenate(counts), atol=1e-6)
    mean, std = flat.mean(2), flat.std(2)
    np.testing.assert_allclose(styles.moments(x), np.concatenate([mean, std], 1), atol=1e-5)


def test_summaries_but_content_know_no_places_and_gram_alone_pairs_of_channels() -> None:
    x = torch.randn(2, 4, 5, 5)
    places = torch.randperm(25)
    moved = x.flatten(2)[:, :, places].view_as(x)
    apart = torch.stack([one.flatten(1)[:, torch.randperm(25)].view(2, 5, 5)
                         for one in x.unbind(1)], 1)  # fmt: skip
    for name, summary in styles.SUMMARIES.items():
        same = torch.allclose(summary(moved), summary(x), atol=1e-5)
        assert same == (name != "content"), name
        same = torch.allclose(summary(apart), summary(x), atol=1e-5)
        assert same == (name in ("moments", "histogram")), name


@pytest.mark.parametrize("name", styles.STYLES)
def test_textures_have_one_mean_and_deviation(name: str) -> None:
    noise = styles.textured(torch.full((400, 1, 16, 16), 0.5), name) - 0.5
    assert float(noise.mean()) == pytest.approx(0, abs=0.005)
    assert float(noise.std()) == pytest.approx(0.15, abs=0.005)
    if name == "rows":  # of three neighbours two are shared
        along = (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()
        assert float(along) == pytest.approx(2 / 3, abs=0.03)


def test_textures_are_told_by_pairs_of_channels() -> None:
    data = Digits(batch_size=64, val_size=200)
    data.setup("test")
    model: Any = nn.Module()
    model.encoder = networks.encoder("small_cnn", 1, 8, width=8)
    model.device = torch.device("cpu")
    found = measurements.measure("styles", model, data)
    assert set(found.figures) == {f"style_{name}_top1" for name in styles.SUMMARIES}
    assert found.figures["style_gram_top1"] > 0.4  # 0.2 by chance
    assert list(found.shown) == list(styles.STYLES)
    with pytest.raises(ValueError, match="has no encoder"):
        measurements.measure("styles", nn.Identity(), data)
