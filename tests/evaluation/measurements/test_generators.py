"""Paths between latents: known lengths, and paths that go around a hill."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from genlab.evaluation import measurements
from genlab.evaluation.measurements.paths import descended, step_lengths
from genlab.networks.interpolation import latent_path


def linear(z: Tensor) -> Tensor:
    return z @ torch.tensor([[2.0, 0, 0], [0, 1, 1]], dtype=z.dtype)


def hill(z: Tensor) -> Tensor:
    """Points of the plane under a hill beside the line from (-2, 0) to (2, 0)."""
    height = 3 * (-(z[:, 0].square() + (z[:, 1] - 0.3).square())).exp()
    return torch.cat([z, height[:, None]], 1)


def test_the_shortest_path_of_a_linear_decoder_is_the_line() -> None:
    first, last = torch.tensor([[1.0, 0]]), torch.tensor([[0.0, 1]])
    line, arc = (latent_path(first, last, 9, spherical) for spherical in (False, True))
    whole = float(linear(last - first).norm())
    assert float(step_lengths(linear, line)[0].sum()) == pytest.approx(whole, rel=1e-5)
    assert float(step_lengths(linear, arc)[0].sum()) > 1.05 * whole
    found = descended(linear, arc, steps=400)
    assert float(step_lengths(linear, found)[0].sum()) == pytest.approx(whole, rel=1e-3)
    torch.testing.assert_close(found[:, [0, -1]], arc[:, [0, -1]])


def test_descent_goes_around_a_hill_and_never_up() -> None:
    line = latent_path(torch.tensor([[-2.0, 0]]), torch.tensor([[2.0, 0]]), 17, False)
    steps, _ = step_lengths(hill, line)
    found = descended(hill, line)
    shorter, _ = step_lengths(hill, found)
    assert float(shorter.sum()) < 0.9 * float(steps.sum())
    assert float(found[0, 8, 1]) < -0.2  # away from the top
    torch.testing.assert_close(descended(hill, line, steps=1, rate=50.0), line)  # would be worse


class Generator(nn.Module):
    """Images that are linear in the latents."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(6, 16)

    def noise(self, n: int) -> Tensor:
        return torch.randn(n, 6)

    @torch.no_grad()  # as GANs' have
    def decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.map(z).view(-1, 1, 4, 4)


def test_lines_of_a_linear_generator_are_as_short_as_can_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from genlab.evaluation.measurements import paths

    monkeypatch.setattr(paths, "STEPS", 2)
    model = Generator()
    state = torch.get_rng_state()
    found = measurements.measure("paths", model, None)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.map.weight.grad is None
    assert found.figures["path_line"] == pytest.approx(1, abs=1e-4)
    assert found.figures["path_line_jump"] == pytest.approx(1, abs=1e-3)
    assert found.figures["path_arc"] > 1.02
    assert found.figures["path_descent"] == pytest.approx(1, abs=1e-4)
    with pytest.raises(ValueError, match="Identity has no latents"):
        measurements.measure("paths", nn.Identity(), None)
