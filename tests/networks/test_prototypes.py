"""Scores by directions: cosines, bounded, with DINO's names."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from genlab.networks.prototypes import Prototypes, small_start


def test_scores_are_cosines_times_the_gain() -> None:
    torch.manual_seed(0)
    head, z = Prototypes(6, 5, train_gain=True).double(), torch.randn(3, 6).double()
    with torch.no_grad():
        head.weight_g.mul_(torch.arange(1, 6)[:, None])
    found = head(z)
    for i in range(3):
        for k in range(5):
            v = head.weight_v[k]
            expected = (k + 1) * (z[i] @ v) / (z[i].norm() * v.norm())
            torch.testing.assert_close(found[i, k], expected)


def test_it_is_a_weight_normalised_linear_map_of_torch() -> None:
    """The peer's form without the norm of the prototypes is unbounded: here no score exceeds 1."""
    torch.manual_seed(0)
    head, linear = Prototypes(6, 5), nn.Linear(6, 5, bias=False)
    linear.load_state_dict({"weight": head.weight_v.detach()})
    normed = nn.utils.parametrizations.weight_norm(linear)
    nn.init.ones_(normed.parametrizations.weight.original0)
    z = torch.randn(7, 6)
    unit = z / z.norm(dim=1, keepdim=True)
    torch.testing.assert_close(head(z), normed(unit))
    with torch.no_grad():
        head.weight_v.mul_(100)
    assert float((unit @ head.weight_v.T).detach().abs().max()) > 1
    assert float(head(z).detach().abs().max()) <= 1 + 1e-6


def test_names_are_those_of_the_references_files_and_a_copy_can_be_made() -> None:
    head = Prototypes(6, 5)
    assert set(head.state_dict()) == {"weight_g", "weight_v"}
    assert torch.equal(copy.deepcopy(head)(torch.ones(1, 6)), head(torch.ones(1, 6)))


def test_the_gain_is_trained_on_request_alone() -> None:
    assert not Prototypes(6, 5).weight_g.requires_grad
    assert Prototypes(6, 5, train_gain=True).weight_g.requires_grad


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_comes_out_as_float32(kind: torch.dtype) -> None:
    head, z = Prototypes(64, 5), torch.randn(7, 64)
    found = head(z.to(kind))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, head(z), atol=1e-2, rtol=0)


def test_a_head_starts_with_small_weights() -> None:
    head = small_start(nn.Sequential(nn.Linear(200, 200), nn.GELU(), nn.Linear(200, 50)))
    assert float(head.state_dict()["0.weight"].std()) == pytest.approx(0.02, rel=0.15)
    assert not head.state_dict()["2.bias"].any()


def test_one_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="prototypes 1 must be at least 2"):
        Prototypes(6, 1)
