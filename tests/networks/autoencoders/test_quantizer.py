"""What must be true of quantisers: gradients, the moving codebook, restarts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genlab.losses import vq
from genlab.networks.autoencoders.gumbel_quantizer import GumbelQuantizer
from genlab.networks.autoencoders.quantizer import VectorQuantizer, count_codes


def with_codes(book: Tensor, **kwargs: object) -> VectorQuantizer:
    """A quantiser whose codebook is given."""
    quantizer = VectorQuantizer(*book.shape, **kwargs)  # type: ignore[arg-type]
    quantizer.codebook.data.copy_(book)
    quantizer.embed_avg.copy_(book)
    return quantizer


def test_takes_the_nearest_code_bit_for_bit() -> None:
    quantizer = VectorQuantizer(17, 6)
    quantizer.codebook.normal_()
    z = torch.randn(3, 6, 4, 5)
    out = quantizer(z)
    rows = z.movedim(1, -1).reshape(-1, 6)
    slow = [min(range(17), key=lambda k: float((r - quantizer.codebook[k]).norm())) for r in rows]
    assert out.codes.flatten().tolist() == slow
    assert torch.equal(out.quantized, quantizer.embed(out.codes))


@pytest.mark.parametrize("learn", ["ema", "gradient"])
def test_straight_through_gradient_is_that_of_the_output_exactly(learn: str) -> None:
    quantizer = VectorQuantizer(16, 4, learn=learn)
    z = torch.randn(2, 4, 3, 3, requires_grad=True)
    c = torch.randn(2, 4, 3, 3)
    (c * quantizer(z).quantized).sum().backward()
    assert z.grad is not None
    assert torch.equal(z.grad, c)
    assert quantizer.codebook.grad is None  # the output moves the encoder alone


def test_each_loss_moves_its_own_side_only() -> None:
    z, book = torch.randn(2, 4, 3, 3, requires_grad=True), torch.randn(8, 4)
    quantizer = with_codes(book, learn="gradient")
    e = quantizer(z).vectors
    difference = (z - e).detach()
    grads = torch.autograd.grad(vq.commitment(z, e).sum(), z)
    torch.testing.assert_close(grads[0], 2 * difference)  # d/dz ||z - sg(e)||^2
    both = [z, quantizer.codebook]
    with_z = torch.autograd.grad(vq.codebook(z, e).sum(), both, allow_unused=True)
    assert with_z[0] is None
    with_book = torch.autograd.grad(vq.commitment(z, e).sum(), both, allow_unused=True)
    assert with_book[1] is None
    moved = torch.zeros(8, 4)
    rows = -2 * difference.movedim(1, -1).reshape(-1, 4)
    moved.index_add_(0, quantizer(z).codes.flatten(), rows)
    torch.testing.assert_close(with_z[1], moved)


def test_an_averaged_codebook_has_no_gradient() -> None:
    quantizer = VectorQuantizer(8, 4)
    assert not list(quantizer.parameters())
    assert not quantizer(torch.randn(1, 4, 2, 2, requires_grad=True)).vectors.requires_grad


def test_losses_are_sums_for_each_sample() -> None:
    z, e = torch.randn(2, 3, 4, 2, 2, dtype=torch.float64)
    slow = [float(((a - b) ** 2).sum()) for a, b in zip(z, e, strict=True)]
    assert vq.commitment(z, e).tolist() == pytest.approx(slow)
    assert vq.codebook(z, e).tolist() == pytest.approx(slow)
    torch.testing.assert_close(
        vq.commitment(z.repeat(3, 1, 1, 1), e.repeat(3, 1, 1, 1)).mean(), vq.commitment(z, e).mean()
    )


def test_one_moving_average_step_by_hand() -> None:
    """Two of three vectors go to code 0, one to code 1, none to code 2; decay .8, eps 0.

    N = (.8 + .2 * 2, .8 + .2 * 1, .8) = (1.2, 1, .8); m_0 = .8 (0, 0) + .2 ((1, 0) + (0, 1)) ...
    """
    book = torch.tensor([[0.0, 0.0], [4.0, 4.0], [-9.0, 9.0]])
    quantizer = with_codes(book, decay=0.8, eps=0.0)
    quantizer(torch.tensor([[1.0, 0.0, 3.0], [0.0, 1.0, 5.0]])[None, :, :, None])
    quantizer.update()
    expected = torch.tensor([[0.2 / 1.2, 0.2 / 1.2], [3.8, 4.2], [-9.0, 9.0]])
    torch.testing.assert_close(quantizer.codebook, expected)
    torch.testing.assert_close(quantizer.cluster_size, torch.tensor([1.2, 1.0, 0.8]))


def test_counts_stay_raw_under_smoothing() -> None:
    quantizer = VectorQuantizer(4, 2, decay=0.5, eps=0.3)
    quantizer.eval()(torch.zeros(1, 2, 2, 2))
    quantizer.update()
    torch.testing.assert_close(quantizer.cluster_size, torch.full((4,), 0.5))


def test_unused_codes_stay_where_they_are() -> None:
    quantizer = VectorQuantizer(64, 4)
    quantizer.codebook.normal_()
    quantizer.embed_avg.copy_(quantizer.codebook)
    before = quantizer.codebook.clone()
    codes = quantizer(torch.randn(2, 4, 3, 3)).codes
    quantizer.update()
    unused = count_codes(codes, 64) == 0
    assert unused.any()
    torch.testing.assert_close(quantizer.codebook[unused], before[unused], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(quantizer.codebook[~unused], before[~unused], rtol=1e-3, atol=1e-4)


def test_micro_batches_move_the_codebook_as_their_union() -> None:
    whole, parts = VectorQuantizer(8, 4), VectorQuantizer(8, 4)
    parts.load_state_dict(whole.state_dict())
    z = torch.randn(6, 4, 2, 2)
    whole(z)
    for part in z.split(2):
        parts(part)
    for quantizer in (whole, parts):
        quantizer.update()
    torch.testing.assert_close(parts.state_dict(), whole.state_dict())


def test_eval_mode_changes_nothing() -> None:
    quantizer = VectorQuantizer(8, 4, restart_below=0.5, init_from_data=True).eval()
    before = {k: v.clone() for k, v in quantizer.state_dict().items()}
    quantizer(torch.randn(2, 4, 3, 3))
    assert all(torch.equal(v, before[k]) for k, v in quantizer.state_dict().items())


@pytest.mark.parametrize("learn", ["ema", "gradient"])
def test_dead_codes_restart_from_the_batch_with_fresh_averages(learn: str) -> None:
    quantizer = with_codes(torch.full((3, 2), 100.0), decay=0.5, restart_below=0.4, learn=learn)
    quantizer.codebook.data[0] = 0.0
    quantizer.embed_avg[0] = 0.0
    z = torch.randn(2, 2, 4, 4)
    for _ in range(2):  # counts of codes 1 and 2: .5, .25 < .4
        quantizer(z)
        quantizer.update()
    rows = z.movedim(1, -1).reshape(-1, 2)
    for k in (1, 2):
        assert (quantizer.codebook[k] == rows).all(1).any()
        assert torch.equal(quantizer.embed_avg[k], quantizer.codebook[k])
        assert quantizer.cluster_size[k] == 1
    replaced = quantizer.codebook[1:].detach().clone()
    far = torch.full((1, 2, 1, 1), -50.0)
    quantizer(far)
    quantizer.update()
    moved = (quantizer.codebook[1:] - replaced).abs().amax(1)
    assert moved.min() < 1e-3  # a stale average would have thrown it back at once


def test_restarts_fill_the_codebook() -> None:
    """Data far from the initial codes, as an encoder's: few codes win, unless dead ones move."""
    used = {}
    for threshold in (0.0, 0.1):
        torch.manual_seed(0)
        quantizer = VectorQuantizer(512, 16, decay=0.8, restart_below=threshold)
        for _ in range(60):
            codes = quantizer(torch.randn(8, 16, 7, 7) + 3).codes  # 392 vectors a step
            quantizer.update()
        used[threshold] = len(codes.unique())
    assert used[0.0] < 50
    assert used[0.1] > 200


def test_starts_from_the_first_batch_once() -> None:
    quantizer = VectorQuantizer(20, 4, init_from_data=True)
    z = torch.randn(2, 4, 5, 5) + 7
    quantizer(z)
    rows = z.movedim(1, -1).reshape(-1, 4)
    assert all((code == rows).all(1).any() for code in quantizer.codebook)
    assert len(quantizer.codebook.unique(dim=0)) == 20  # stratified: no row twice
    book = quantizer.codebook.clone()
    quantizer(z - 20)
    assert torch.equal(quantizer.codebook, book)


def test_the_start_is_remembered_by_a_checkpoint() -> None:
    trained, loaded = (VectorQuantizer(8, 4, init_from_data=True) for _ in range(2))
    for _ in range(3):
        trained(torch.randn(2, 4, 3, 3))
        trained.update()
    loaded.load_state_dict(trained.state_dict())
    z = torch.randn(2, 4, 3, 3)
    for quantizer in (trained, loaded):
        quantizer(z)
        quantizer.update()
    assert all(torch.equal(v, trained.state_dict()[k]) for k, v in loaded.state_dict().items())
    assert not torch.equal(trained.cluster_size, torch.ones(8))


def test_loading_an_untrained_state_starts_anew() -> None:
    quantizer = VectorQuantizer(8, 4, init_from_data=True)
    fresh = {k: v.clone() for k, v in quantizer.state_dict().items()}
    quantizer(torch.randn(2, 4, 3, 3))
    quantizer.load_state_dict(fresh)
    quantizer(torch.randn(2, 4, 3, 3) + 50)
    assert quantizer.codebook.min() > 20


def test_distances_are_float32_under_autocast() -> None:
    quantizer = with_codes(torch.tensor([[100.0], [100.25]]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = quantizer(torch.full((1, 1, 1, 1), 100.2))
    assert out.codes.item() == 1
    assert out.quantized.dtype == torch.float32


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"num_codes": 1}, "num_codes 1 must be >= 2"),
        ({"code_dim": 0}, "code_dim 0 >= 1"),
        ({"learn": "magic"}, "unknown learn 'magic'; choose from ema, gradient$"),
        ({"decay": 1.0}, "ema_decay 1.0 must lie in"),
    ],
)
def test_refuses(bad: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        VectorQuantizer(**({"num_codes": 8, "code_dim": 4} | bad))  # type: ignore[arg-type]


def test_kl_to_uniform() -> None:
    flat, sure = torch.zeros(2, 5, 3, 3), torch.zeros(2, 5, 3, 3)
    sure[:, 2] = 100.0
    assert vq.kl_uniform(flat).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert vq.kl_uniform(sure).tolist() == pytest.approx([9 * math.log(5)] * 2)


def test_code_nll_is_the_sum_of_the_chosen_log_probabilities() -> None:
    logits, codes = torch.randn(2, 5, 3, 3), torch.randint(5, (2, 3, 3))
    log_p = logits.log_softmax(1)
    slow = [
        -sum(float(log_p[b, codes[b, i, j], i, j]) for i in range(3) for j in range(3))
        for b in range(2)
    ]
    assert vq.code_nll(logits, codes).tolist() == pytest.approx(slow, rel=1e-5)


def test_gumbel_temperature_falls_with_optimiser_steps_only() -> None:
    quantizer = GumbelQuantizer(8, 4, anneal_rate=0.1, final_temperature=0.5)
    quantizer(torch.randn(1, 4, 2, 2))
    assert quantizer.temperature == 1.0
    for _ in range(3):
        quantizer.update()
    assert float(quantizer.temperature) == pytest.approx(math.exp(-0.3))
    for _ in range(30):
        quantizer.update()
    assert quantizer.temperature == 0.5


def test_gumbel_hard_samples_are_code_vectors_and_pass_gradients() -> None:
    quantizer = GumbelQuantizer(8, 4, hard=True)
    z = torch.randn(2, 4, 3, 3, requires_grad=True)
    out = quantizer(z)
    torch.testing.assert_close(out.quantized, quantizer.embed(out.codes), rtol=1e-5, atol=1e-6)
    (grad,) = torch.autograd.grad(out.quantized.square().sum(), z)
    assert grad.abs().sum() > 0


def test_gumbel_samples_follow_the_posterior() -> None:
    quantizer = GumbelQuantizer(4, 4, hard=True)
    z = torch.randn(1, 4, 1, 1).expand(20_000, 4, 1, 1)
    frequency = count_codes(quantizer(z).codes, 4) / 20_000
    expected = quantizer.to_logits(z[:1]).softmax(1).flatten()
    torch.testing.assert_close(frequency, expected, rtol=0, atol=0.015)


def test_gumbel_in_eval_mode_takes_the_most_probable_code() -> None:
    quantizer = GumbelQuantizer(8, 4).eval()
    z = torch.randn(2, 4, 3, 3)
    out = quantizer(z)
    assert torch.equal(out.codes, quantizer.to_logits(z).argmax(1))
    assert torch.equal(out.quantized, quantizer.embed(out.codes))
