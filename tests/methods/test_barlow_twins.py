"""Barlow Twins: its loss on the embeddings of both views. The laws are in tests/laws."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from genlab import losses
from genlab.contracts import Batch
from genlab.methods.barlow_twins import BarlowTwins
from tests.methods.programs_ssl import CNN, pairs


def small(**options: Any) -> BarlowTwins:
    torch.manual_seed(1)
    return BarlowTwins(**CNN | {"projector_dims": [12, 6]} | options)


def test_the_loss_is_of_both_views_embeddings() -> None:
    method, batch = small(projector_norm=None, off_diagonal_weight=0.2), cast(Batch, pairs(8)[0])
    found = method.training_step(batch, 0)["loss"]
    z1, z2 = (method.embed(view) for view in batch["views"])
    torch.testing.assert_close(found, losses.redundancy_reduction(z1, z2, 0.2))


def test_the_loss_and_that_of_collapse_are_scaled() -> None:
    batch = cast(Batch, pairs(8)[0])
    plain, scaled = (small(loss_scale=by).training_step(batch, 0)["loss"] for by in (1.0, 0.1))
    torch.testing.assert_close(scaled, plain * 0.1)
    assert small(loss_scale=0.1).collapsed_loss(8) == pytest.approx(0.6)  # D = 6


def test_the_last_map_has_no_bias() -> None:
    names = {name for name, _ in small().named_parameters()}
    assert {name for name in names if name.startswith("projector.3")} == {"projector.3.weight"}


def test_features_come_from_before_the_projector() -> None:
    method, image = small().eval(), torch.rand(3, 1, 8, 8)
    assert torch.equal(method(image), method.encoder(image))
    assert method.embed(image).shape == (3, 6)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="off_diagonal_weight -1 must be at least 0"):
        small(off_diagonal_weight=-1)
    with pytest.raises(ValueError, match="loss_scale 0 must be above 0"):
        small(loss_scale=0)
