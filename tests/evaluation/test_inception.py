"""The Inception of published FIDs is torch-fidelity's, down to its resizing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import (
    interpolate_bilinear_2d_like_tensorflow1x,
)

from genlab.evaluation.inception import CLASSES, DIM, Inception, tf_resize


def made_up_weights() -> dict[str, Tensor]:
    """Of the real file's names and shapes, with batch norms that let differences through."""
    fresh = Inception()
    shapes = fresh.network.state_dict()
    shapes |= {f"fc.{name}": value for name, value in fresh.head.state_dict().items()}
    weights = {}
    for name, value in shapes.items():
        if not value.is_floating_point():
            weights[name] = value
        elif name.endswith("running_var"):
            weights[name] = torch.rand_like(value) + 0.5
        else:
            weights[name] = torch.randn_like(value) * 0.05 + name.endswith("bn.weight")
    return weights


@pytest.mark.parametrize("size", [28, 32, 299, 310])
def test_resizing_is_that_of_tensorflow_1(size: int) -> None:
    image = torch.rand(2, 3, size, size) * 255
    expected = interpolate_bilinear_2d_like_tensorflow1x(
        image, size=(299, 299), align_corners=False
    )
    torch.testing.assert_close(tf_resize(image, 299), expected, atol=1e-3, rtol=0)


def test_features_and_logits_are_those_of_torch_fidelity(tmp_path: Path) -> None:
    weights = made_up_weights()
    torch.save(weights, tmp_path / "weights.pth")
    other = FeatureExtractorInceptionV3(
        "inception",
        ["2048", "logits_unbiased"],
        feature_extractor_weights_path=str(tmp_path / "weights.pth"),
    )
    image = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        features, logits = Inception(weights)(image)
        expected = other(image)
    assert (features.shape, logits.shape) == ((2, DIM), (2, CLASSES))
    assert float((features[0] - features[1]).abs().max()) > 0.1
    torch.testing.assert_close(features, expected[0], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(logits, expected[1], atol=1e-3, rtol=1e-4)


def test_other_weights_and_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="not weights of FID's Inception"):
        Inception({"head": torch.ones(1)})
    with pytest.raises(ValueError, match="takes bytes"):
        Inception()(torch.rand(1, 3, 32, 32))
