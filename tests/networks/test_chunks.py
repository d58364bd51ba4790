"""Batches in chunks: value and gradient of the whole batch, activations of one chunk."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab import losses, networks
from genlab.networks.chunks import Part, check_chunks, in_chunks, passing
from genlab.networks.split_batch_norm import split_batch_norm
from genlab.planning.counting import Counting
from tests.conftest import TwoRanks

Loss = Callable[[Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {
    "nt_xent": losses.nt_xent,
    "barlow_twins": lambda a, b: losses.redundancy_reduction(a, b, 0.0051),
}


def net(norm: str | None = "layer", kind: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(1)
    return networks.mlp(12, 32, 32, 16, norm=norm).to(kind)


def rows(n: int = 256, kind: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, 12, generator=torch.Generator().manual_seed(2)).to(kind)


def gradient(model: nn.Module, z: Tensor, loss: Loss = losses.nt_xent) -> Tensor:
    """Of all parameters, of the loss between the halves of z."""
    model.zero_grad()
    z1, z2 = z.chunk(2)
    loss(z1, z2).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize(("kind", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("name", LOSSES)
def test_four_chunks_of_64_have_the_gradient_of_256(
    name: str, kind: torch.dtype, bound: float
) -> None:
    model, x = net(kind=kind), rows(kind=kind)
    whole = gradient(model, model(x), LOSSES[name])
    parts = gradient(model, in_chunks(x, model, chunks=4), LOSSES[name])
    assert float((parts - whole).norm() / whole.norm()) < bound


def test_a_chunk_may_be_smaller() -> None:
    """G9."""
    model, x = net(), rows(26)
    z = in_chunks(x, model, chunks=4)  # 7, 7, 6 and 6
    torch.testing.assert_close(z, model(x), rtol=0, atol=1e-14)
    torch.testing.assert_close(gradient(model, z), gradient(model, model(x)), rtol=0, atol=1e-13)


def test_views_go_through_together_and_come_back_in_their_order() -> None:
    model, x = net(), rows(22)
    found = in_chunks([x[:11], x[11:]], model, chunks=3)
    torch.testing.assert_close(found, model(x), rtol=0, atol=1e-14)


def test_views_of_several_sizes_pass_the_first_network_by_size() -> None:
    encoder, head = networks.encoder("small_cnn", 1, 8, width=2).eval().double(), net()
    head = nn.Sequential(nn.Linear(encoder.out_dim, 12).double(), head)
    large, small = (torch.rand(10, 1, side, side).double() for side in (8, 6))
    found = in_chunks([large, small, large], encoder, head, chunks=3)
    expected = torch.cat([head(encoder(view)) for view in (large, small, large)])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_chunk_is_computed_again_with_the_same_random_numbers() -> None:
    """G1: dropout drawn anew would give another gradient."""
    model, x = nn.Sequential(net(), nn.Dropout(0.2)), rows(64)
    torch.manual_seed(3)
    once = gradient(model, in_chunks(x, model, chunks=4))
    torch.manual_seed(3)
    kept = torch.stack([model(x[k::4]) for k in range(4)], 1).flatten(0, 1)
    torch.testing.assert_close(once, gradient(model, kept), rtol=0, atol=1e-13)
    assert float((gradient(model, in_chunks(x, model, chunks=4)) - once).norm()) > 1e-3


def test_groups_of_the_chunks_size_are_the_whole_batch_in_these_groups() -> None:
    """G2: running statistics move once, and not when a chunk is computed again."""
    x, start = rows(32), net("batch")
    split_batch_norm(4, start)
    whole, model = copy.deepcopy(start), copy.deepcopy(start)
    expected = gradient(whole, whole(x))
    found = gradient(model, in_chunks(x.split(16), model, chunks=4))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for (name, one), other in zip(
        whole.state_dict().items(), model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-14, msg=name)
    assert int(model.get_buffer("1.num_batches_tracked")) == 1
    fewer = copy.deepcopy(start)  # two groups in each of two chunks
    torch.testing.assert_close(
        gradient(fewer, in_chunks(x, fewer, chunks=2)), expected, rtol=0, atol=1e-12
    )


def test_the_last_chunk_goes_first_on_the_way_back() -> None:
    model, passes = net(None), list[float]()
    model.get_submodule("0").register_forward_pre_hook(
        lambda _, given: passes.append(float(given[0][0, 0]))
    )
    x = torch.arange(4.0).double()[:, None].expand(4, 12)
    z = in_chunks(x, model, chunks=4)
    assert passes == [0, 1, 2, 3]
    z.sum().backward()
    assert passes == [0, 1, 2, 3, 3, 2, 1, 0]


def test_a_hook_may_ask_which_rows_pass() -> None:
    model, x, seen = net(), rows(10), list[tuple[Part, Tensor]]()
    model.register_forward_pre_hook(lambda _, given: seen.append((passing(), given[0])))
    in_chunks(x, model, chunks=3).sum().backward()
    assert [(part.first, part.again) for part, _ in seen] == [
        (0, False), (1, False), (2, False), (2, True), (1, True), (0, True),
    ]  # fmt: skip
    assert {(part.step, part.rows) for part, _ in seen} == {(3, 10)}
    assert all(torch.equal(given, x[part.first :: part.step]) for part, given in seen)
    with torch.no_grad():
        in_chunks(x, model, chunks=3)
    assert [part for part, _ in seen[6:]] == [Part(k, 3, 10) for k in range(3)]
    assert passing() == Part()


def test_the_activations_are_those_of_one_chunk() -> None:
    torch.manual_seed(0)
    model = networks.mlp(64, *[64] * 12, 1)

    def peak(images: int, chunks: int) -> int:
        x = torch.randn(images, 64)
        with Counting() as count:
            count.see(x, "batch")
            in_chunks(x, model, chunks=chunks).square().mean().backward()
        model.zero_grad()
        return sum(count.peak.values()) - count.peak["batch"]

    assert peak(8192, 4) < 1.1 * peak(2048, 1)
    assert peak(8192, 1) > 3.5 * peak(2048, 1)


def test_a_step_that_overflows_is_given_up() -> None:
    """G5: the scaled gradient of an embedding that is inf in half precision."""
    model, scaler = net(kind=torch.float32), torch.amp.GradScaler("cpu", init_scale=2.0**40)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = copy.deepcopy(model.state_dict())
    for _ in range(2):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            z = in_chunks(rows(64, torch.float32), model, chunks=4)
        z1, z2 = z.chunk(2)
        scaler.scale(losses.nt_xent(z1, z2)).backward()
        scaler.step(optimizer)
        same = [torch.equal(value, before[name]) for name, value in model.state_dict().items()]
        if float(scaler.get_scale()) > 2.0**10:
            assert all(same)
        scaler.update(2.0**8)
    assert not all(same)


def test_without_gradient_nothing_is_computed_twice() -> None:
    model, passes = net(), list[int]()
    model.register_forward_hook(lambda *_: passes.append(1))
    with torch.no_grad():
        z = in_chunks(rows(8), model, chunks=2)
    assert not z.requires_grad
    assert len(passes) == 2


def test_two_ranks_are_one_process_and_exchange_gradients_once(two_ranks: TwoRanks) -> None:
    """G3."""
    (one, _), both = two_ranks.results("tests.networks.programs_chunks:exchanged")
    for found, exchanges in both:
        assert exchanges == 1
        torch.testing.assert_close(found, one, rtol=0, atol=1e-12)


def test_a_graph_of_the_own_rows_alone_has_half_the_gradient(two_ranks: TwoRanks) -> None:
    """G4: GradCache's loss on two ranks."""
    one, both = two_ranks.results("tests.networks.programs_chunks:own_graph")
    torch.testing.assert_close(one["own"], one["ours"], rtol=0, atol=1e-12)
    for found in both:
        torch.testing.assert_close(found["ours"], one["ours"], rtol=0, atol=1e-12)
        torch.testing.assert_close(found["own"], 0.5 * one["ours"], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("chunks", "splits", "norm", "said"),
    [
        (0, 1, "layer", "chunks must be at least 1, got 0"),
        (4, 1, "batch", "chunks 4 cannot be combined with batch norm, .*: set bn_splits to 4"),
        (4, 2, "batch", "bn_splits 2 is not a multiple of chunks 4"),
    ],
)
def test_what_would_be_another_batch_is_refused(
    chunks: int, splits: int, norm: str, said: str
) -> None:
    model: Any = net(norm)
    split_batch_norm(splits, model)
    with pytest.raises(ValueError, match=said):
        check_chunks(chunks, model)


def test_batches_that_cannot_be_divided_are_refused() -> None:
    with pytest.raises(ValueError, match="chunks 9 is more than the 8 images of a pass"):
        in_chunks(rows(8), net(), chunks=9)
    model = net("batch")
    split_batch_norm(2, model)
    with pytest.raises(ValueError, match="bn_splits 2 does not divide the 9 images"):
        in_chunks(rows(9), model, chunks=2)
    with pytest.raises(ValueError, match="cannot be combined with batch norm"):
        in_chunks(rows(8), net("batch"), chunks=2)
    torch.testing.assert_close(
        in_chunks(rows(8), net("batch").eval(), chunks=2), net("batch").eval()(rows(8))
    )
