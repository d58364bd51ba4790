"""LeJEPA: the mean of the large views, SIGReg of each view, its directions. Laws: tests/laws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.methods.lejepa import LeJEPA
from tests.losses.golden_embeddings import x
from tests.methods.programs_ssl import CNN, pairs


def small(**options: Any) -> LeJEPA:
    torch.manual_seed(1)
    return LeJEPA(**CNN | {"projector_dims": [12, 6], "directions": 8} | options)


class Given(nn.Module):
    """Embeddings that are the views' first channel, row by row."""

    def forward(self, image: Tensor) -> Tensor:
        return image.flatten(1)[:, :8]


def test_the_value_of_the_whole_loss() -> None:
    """LJ2: two large views and a small one: the mean is that of the large ones, SIGReg of each."""
    method: Any = small(projector_dims=[12, 8]).double()
    method.encoder, method.projector = Given(), nn.Identity()
    u = x(7, 8, 4)
    method.directions = lambda *_: u / u.norm(dim=0)
    z = [x(s, 16, 8).requires_grad_() for s in (0, 1, 2)]
    large = [torch.cat([one, one.new_zeros(16, 56)], 1).view(16, 1, 8, 8) for one in z[:2]]
    little = torch.cat([z[2], z[2].new_zeros(16, 8)], 1).view(16, 1, 4, 4)
    found = method.training_step({"views": [*large, little]}, 0)
    found["loss"].backward()
    assert float(found["loss"].detach()) == pytest.approx(0.394526076671, abs=1e-9)
    assert float(found["loss_invariance"].detach()) == pytest.approx(0.373715436511, abs=1e-9)
    assert float(found["loss_sigreg"].detach()) == pytest.approx(0.789928239716, abs=1e-9)
    gradient = torch.cat([one.grad for one in z if one.grad is not None])
    assert float(gradient.norm()) == pytest.approx(0.066852044393, abs=1e-9)


def test_sigreg_of_all_views_together_is_another_loss() -> None:
    """LJ3: stable-pretraining's: invariance + lambda SIGReg of the views' rows as one batch."""
    from genlab import losses

    u, z = x(7, 8, 4), torch.stack([x(s, 16, 8) for s in (0, 1, 2)])
    u = u / u.norm(dim=0)
    invariance = (z - z[:2].mean(0)).square().mean()
    together = invariance + 0.05 * losses.sigreg(z.flatten(0, 1), u)
    assert float(together) == pytest.approx(0.470046820939, abs=1e-9)


def test_directions_are_those_of_the_batchs_seed() -> None:
    """LJ5."""
    method = small()
    one, same, other = (method.directions({"seed": s}, torch.device("cpu")) for s in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)
    assert one.shape == (6, 8)
    torch.testing.assert_close(one.norm(dim=0), torch.ones(8))
    assert method.directions({}, torch.device("cpu")).shape == (6, 8)


def test_place_and_scale_of_the_embeddings_are_logged() -> None:
    """LJ8: the last map is linear: nothing takes the scale away, which similarities do not show."""
    method = small()
    assert isinstance(method.projector[-1], nn.Linear)
    batch: Any = pairs(8)[0] | {"seed": 1}
    once = method.training_step(batch, 0)
    with torch.no_grad():
        method.projector[-1].weight.mul_(10)
        method.projector[-1].bias.zero_()
    again = method.training_step(batch, 0)
    assert float(again["embedding_variance"]) > 50 * float(once["embedding_variance"])
    assert float(again["embedding_mean"]) > 0


def test_features_come_from_before_the_projector() -> None:
    method, image = small().eval(), torch.rand(3, 1, 8, 8)
    assert torch.equal(method(image), method.encoder(image))
    assert method.embed(image).shape == (3, 6)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sigreg_weight": 1.5}, r"sigreg_weight 1.5 must be in \[0, 1\]"),
        ({"directions": 0}, "directions 0 must be at least 1"),
        ({"grid": "fine"}, "unknown grid 'fine'; choose from paper, repository"),
    ],
)
def test_bad_input_is_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small(**wrong)
