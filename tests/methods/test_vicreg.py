"""VICReg: its loss on the embeddings of both views. The laws are in tests/laws."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from genlab import losses
from genlab.contracts import Batch
from genlab.methods.vicreg import VICReg
from tests.methods.programs_ssl import CNN, pairs


def small(**options: Any) -> VICReg:
    torch.manual_seed(1)
    return VICReg(**CNN | {"projector_dims": [12, 6]} | options)


def test_the_loss_is_the_weighted_terms_of_both_views_embeddings() -> None:
    batch = cast(Batch, pairs(8)[0])
    weights = {"variance_weight": 3.0, "invariance_weight": 5.0, "covariance_weight": 7.0}
    method = small(projector_norm=None, **weights)
    found = method.training_step(batch, 0)
    z1, z2 = (method.embed(view) for view in batch["views"])
    variance, invariance, covariance = losses.variance_invariance_covariance(z1, z2)
    torch.testing.assert_close(found["loss"], 3 * variance + 5 * invariance + 7 * covariance)
    torch.testing.assert_close(found["loss_covariance"], covariance)


def test_a_smaller_last_batch_has_its_own_number() -> None:
    """VR3: five images of a data module with batches of eight are five images, not eight."""
    views = cast(Batch, {"views": [view[:5] for view in pairs(8)[0]["views"]]})
    method = small(projector_norm=None)
    z1, z2 = (method.embed(view).double() for view in views["views"])
    covariance = sum(_off_diagonal(torch.cov(z.T)) for z in (z1, z2)) / 6
    found = method.training_step(views, 0)["loss_covariance"]
    assert float(found.detach()) == pytest.approx(float(covariance), rel=1e-5)


def _off_diagonal(c: torch.Tensor) -> float:
    return float((c.square().sum() - c.diagonal().square().sum()).detach())


def test_features_come_from_before_the_projector() -> None:
    method, image = small().eval(), torch.rand(3, 1, 8, 8)
    assert torch.equal(method(image), method.encoder(image))
    assert method.embed(image).shape == (3, 6)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="covariance_weight -1 must be at least 0"):
        small(covariance_weight=-1)
