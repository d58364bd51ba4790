"""Every layer of a flow: it inverts, and its log-determinant is that of its Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.networks.flows import bijections, splines
from genlab.networks.flows.actnorm import ActNorm
from genlab.networks.flows.autoregressive import Autoregressive, Inverted
from genlab.networks.flows.coupling_nets import conv_net, dense_net, residual_net
from genlab.networks.flows.couplings import (
    COUPLINGS,
    LOG_SCALE,
    CheckerboardCoupling,
    HalfCoupling,
    change,
    checkerboard,
)
from genlab.networks.flows.invertible_conv import InvertibleConv
from genlab.networks.flows.masked import masked_net
from genlab.networks.flows.whitening import Whitening

Shape = tuple[int, ...]
IMAGE: Shape = (4, 4, 4)


def half(coupling: str, flip: bool) -> nn.Module:
    kind = change(coupling, 5, 2.0)
    return HalfCoupling(conv_net(2, 2 * kind.size, 6), kind, flip)


def dense_half(coupling: str, flip: bool) -> nn.Module:
    kind = change(coupling, 5, 2.0)
    stay, other = (3, 4) if flip else (4, 3)
    return HalfCoupling(dense_net(stay, other * kind.size, [8], "tanh"), kind, flip)


def board(coupling: str, flip: bool) -> nn.Module:
    kind = change(coupling, 5, 2.0)
    return CheckerboardCoupling(residual_net(2, 2 * kind.size, 6, 1), kind, flip)


def factor_out(learned: bool) -> nn.Module:
    rest = bijections.Chain([InvertibleConv(2), bijections.Reshape((2, 4, 4), (32,))])
    return bijections.FactorOut(rest, IMAGE, learned)


def autoregressive(coupling: str) -> nn.Module:
    kind = change(coupling, 5, 2.0)
    return Autoregressive(masked_net(7, kind.size, [8], "tanh"), kind)


def whitening() -> nn.Module:
    layer = Whitening(7)
    layer.fit([torch.randn(50, 7) * 3 + 1])
    return layer


LAYERS: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "actnorm": (lambda: ActNorm(4), IMAGE),
    "actnorm_flat": (lambda: ActNorm(7), (7,)),
    "conv_lu": (lambda: InvertibleConv(4, lu=True), IMAGE),
    "conv_plain": (lambda: InvertibleConv(4, lu=False), IMAGE),
    "conv_lu_flat": (lambda: InvertibleConv(7, lu=True), (7,)),
    "squeeze": (bijections.Squeeze, (2, 4, 4)),
    "reshape": (lambda: bijections.Reshape(IMAGE, (64,)), IMAGE),
    "permute": (lambda: bijections.Permute(torch.randperm(4)), IMAGE),
    "factor_out": (lambda: factor_out(False), IMAGE),
    "factor_out_learned": (lambda: factor_out(True), IMAGE),
}
LAYERS["whitening"] = whitening, (7,)
for name in COUPLINGS:
    LAYERS[f"autoregressive_{name}"] = partial(autoregressive, name), (7,)
    LAYERS[f"inverted_{name}"] = partial(lambda n: Inverted(autoregressive(n)), name), (7,)
    for flip in (False, True):
        for title, make, shape in (
            ("half", half, IMAGE),
            ("dense", dense_half, (7,)),
            ("board", board, (2, 3, 4)),
        ):
            LAYERS[f"{title}_{name}_{flip}"] = partial(make, name, flip), shape


def trained(make: Callable[[], nn.Module]) -> nn.Module:
    """A layer in float64 whose parameters are those of no fresh one."""
    layer = make().double()
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return layer.eval()


@pytest.mark.parametrize("name", LAYERS)
def test_it_inverts_and_its_log_determinant_is_that_of_the_jacobian(name: str) -> None:
    make, shape = LAYERS[name]
    layer, x = trained(make), torch.randn(3, *shape, dtype=torch.float64)
    z, log_det = layer(x)
    inverse: Any = layer.inverse
    again, back = inverse(z)
    torch.testing.assert_close(again, x, atol=1e-9, rtol=0)
    torch.testing.assert_close(back, -log_det, atol=1e-9, rtol=0)
    assert log_det.shape == (3,)
    for row in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda v: layer(v[None])[0][0], x[row])
        exact = torch.linalg.slogdet(jacobian.reshape(x[row].numel(), -1))[1]
        torch.testing.assert_close(log_det[row], exact, atol=1e-9, rtol=0)
    if name not in ("reshape", "squeeze"):
        assert not torch.equal(z.flatten(), x.flatten())


@pytest.mark.parametrize("name", LAYERS)
def test_an_image_does_not_see_the_others_of_its_batch(name: str) -> None:
    make, shape = LAYERS[name]
    layer, x = trained(make), torch.randn(5, *shape, dtype=torch.float64)
    whole, alone = layer(x), layer(x[2:3])
    torch.testing.assert_close(whole[0][2:3], alone[0])
    torch.testing.assert_close(whole[1][2:3], alone[1])


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_a_fresh_coupling_is_the_identity(coupling: str) -> None:
    for make, shape in ((half, IMAGE), (dense_half, (7,)), (board, (2, 3, 4))):
        x = torch.randn(3, *shape)
        z, log_det = make(coupling, True)(x)
        torch.testing.assert_close(z, x)
        torch.testing.assert_close(log_det, torch.zeros(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("flip", [False, True])
def test_one_part_of_a_coupling_stays_and_flip_says_which(flip: bool) -> None:
    x = torch.randn(3, *IMAGE, dtype=torch.float64)
    same = trained(lambda: half("affine", flip))(x)[0] == x
    assert same[:, 2:].all() if flip else same[:, :2].all()
    assert not (same[:, :2] if flip else same[:, 2:]).any()
    x = torch.randn(3, 2, 3, 4, dtype=torch.float64)
    same = trained(lambda: board("affine", flip))(x)[0] == x
    assert torch.equal(same, (checkerboard(x) != flip).expand_as(same))
    assert checkerboard(x)[0].tolist() == [True, False, True, False]


def test_a_half_that_is_done_depends_on_the_rest_with_a_learned_prior_only() -> None:
    x = torch.randn(2, *IMAGE, dtype=torch.float64)
    moved = torch.cat([x[:, :2] + 1, x[:, 2:]], 1)
    plain, learned = (trained(partial(factor_out, k)) for k in (False, True))
    assert torch.equal(plain(x)[0][:, 32:], plain(moved)[0][:, 32:])
    assert torch.equal(plain(x)[0][:, 32:], x[:, 2:].flatten(1))
    assert not torch.isclose(learned(x)[0][:, 32:], learned(moved)[0][:, 32:]).any()


def test_the_scale_of_an_affine_coupling_is_bounded() -> None:
    x, raw = torch.randn(4, 3), torch.full((4, 3, 2), -100.0)
    log_scale = change("affine").forward(x, raw)[1]
    assert (log_scale == -LOG_SCALE).all()


@pytest.mark.parametrize("lu", [True, False])
def test_the_1x1_convolution_keeps_its_precision_under_autocast(lu: bool) -> None:
    layer, x = InvertibleConv(16, lu), torch.randn(8, 16, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        z, log_det = layer(x)
        again = layer.inverse(z)[0]
    assert z.dtype == log_det.dtype == torch.float32
    torch.testing.assert_close(again, x, atol=1e-5, rtol=0)
    torch.testing.assert_close(z, layer(x)[0], atol=1e-6, rtol=0)


def test_a_fresh_1x1_convolution_is_a_rotation_and_lu_holds_the_same() -> None:
    for lu in (True, False):
        layer = InvertibleConv(6, lu)
        matrix = layer.matrix()
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(6), atol=1e-5, rtol=0)
        assert layer(torch.randn(1, 6))[1].item() == pytest.approx(0, abs=1e-5)


def draw_spline(factor: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(4000, generator=generator).to(dtype)
    return x, factor * torch.randn(4000, 25, generator=generator).to(dtype)


@pytest.mark.parametrize(("factor", "worst"), [(1.0, 5e-4), (30.0, 2e-2)])
def test_a_spline_inverts_in_float32_whatever_its_logits(factor: float, worst: float) -> None:
    """With free logits and slopes the largest error was 1.9 at thirty times the logits."""
    x, raw = draw_spline(factor, torch.float32)
    y, log_slope = splines.spline(x, raw, 4.0)
    again, back = splines.inverse_spline(y, raw, 4.0)
    assert (again - x).abs().max() < worst
    assert (again - x).abs().median() < 1e-5
    assert (log_slope + back).abs().max() < worst
    exact = splines.spline(x.double(), raw.double(), 4.0)
    torch.testing.assert_close(y.double(), exact[0], atol=1e-3, rtol=0)
    assert log_slope.std() > 0.3


def test_a_spline_rises_smoothly_and_goes_on_straight() -> None:
    raw = 3 * torch.randn(1, 25, dtype=torch.float64)
    x = torch.linspace(-6, 6, 12_001, dtype=torch.float64)
    y, log_slope = splines.spline(x, raw.expand(len(x), -1), 4.0)
    assert (y.diff() > 0).all()
    middle = (y[2:] - y[:-2]) / (x[2:] - x[:-2])
    torch.testing.assert_close(middle, log_slope.exp()[1:-1], rtol=0.05, atol=0)
    for outside in (x > 4, x < -4):
        assert log_slope[outside].std() < 1e-9
    identity = splines.spline(x, torch.zeros(len(x), 25, dtype=torch.float64), 4.0)[0]
    torch.testing.assert_close(identity, x, atol=1e-12, rtol=0)


def test_unknown_names_and_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(
        ValueError, match="unknown coupling 'cubic'; choose from additive, affine, spline"
    ):
        change("cubic")
    with pytest.raises(ValueError, match="2 bins"):
        change("spline", bins=1)
    with pytest.raises(ValueError, match="bound above 0"):
        change("spline", bound=0)
