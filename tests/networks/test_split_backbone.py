"""Two halves that share nothing, behind one encoder."""

from __future__ import annotations

import pytest
import torch

from genlab import networks

NAME = "genlab.networks.split_backbone.SplitBackbone"


def test_features_of_both_halves_come_together() -> None:
    encoder = networks.encoder(NAME, 3, 16, half="small_cnn", width=4).eval()
    image = torch.rand(2, 3, 16, 16)
    network = encoder.backbone
    lightness, ab = network.split(image)  # type: ignore[operator]
    expected = torch.cat([network.lightness(lightness), network.colour(ab)], 1)  # type: ignore[operator]
    torch.testing.assert_close(encoder(image), expected)
    assert encoder.out_dim == 128
    assert encoder.features(image).shape == (2, 32, 4, 4)
    assert lightness.shape == (2, 1, 16, 16)
    assert ab.shape == (2, 2, 16, 16)


def test_grey_images_are_refused() -> None:
    with pytest.raises(ValueError, match="halves require images of 3 channels, not 1: grey"):
        networks.encoder(NAME, 1, 16, half="small_cnn")


def test_a_stem_is_that_of_both_halves() -> None:
    network = networks.encoder(NAME, 3, 16, half="resnet10t", half_stem=None).backbone
    parts = {name.partition(".")[0] for name, _ in network.named_parameters()}
    assert parts == {"lightness", "colour"}
