"""FSQ and LFQ: values, indices, gradients and entropies, beside values of other code.

Golden values are of vector-quantize-pytorch 1.32 and of an independent derivation, which agree
where nothing else is said.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from genlab.metrics.codebook import CodebookUsage
from genlab.networks.autoencoders.scalar_quantizers import (
    FiniteScalarQuantizer,
    LookupFreeQuantizer,
    to_digits,
    to_index,
)
from tests.networks.flows.golden import first as numbers

LEVELS = (8, 5, 5, 5)


def grid(rows: torch.Tensor) -> torch.Tensor:
    """(N, d) -> (N, d, 1, 1)."""
    return rows[:, :, None, None]


def test_golden_codes_of_fsq() -> None:
    z = 3 * numbers(4, 4)
    found = FiniteScalarQuantizer(LEVELS)(grid(z))
    assert found.quantized[0].flatten().tolist() == [0.75, 1, 1, -1]
    assert found.quantized[1].flatten().tolist() == [0.75, -1, -1, 0]
    assert found.codes.flatten().tolist() == [199, 407, 960, 34]


def test_golden_gradient_of_fsq_is_that_of_the_bound() -> None:
    z = (3 * numbers(4, 4)).requires_grad_()
    FiniteScalarQuantizer(LEVELS)(grid(z)).quantized.sum().backward()
    assert z.grad is not None
    golden = [0.0167048006, 0.0136047384, 0.4172230625, 0.1536174332]
    assert z.grad[0].tolist() == pytest.approx(golden, abs=1e-9)


def test_even_levels_stay_inside_their_range() -> None:
    """Without the half offset eight levels are nine, and 0 lies between two."""
    quantizer = FiniteScalarQuantizer([8, 2])
    z = torch.linspace(-50, 50, 4001).expand(1, 2, -1)[..., None]
    found = quantizer(z)
    first, second = found.quantized[0].squeeze(-1)
    assert sorted(set(first.tolist())) == [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75]
    assert sorted(set(second.tolist())) == [-1, 0]
    assert 0 <= found.codes.min() <= found.codes.max() < 16
    assert quantizer(torch.zeros(1, 2, 1, 1)).quantized[0, 0] == 0


@pytest.mark.parametrize(
    "quantizer", [FiniteScalarQuantizer(LEVELS), LookupFreeQuantizer(64), LookupFreeQuantizer(2)]
)
def test_all_codes_go_to_numbers_and_back(quantizer: Any) -> None:
    codes = torch.arange(quantizer.num_codes).view(1, -1, 1)
    numbers_of = quantizer.embed(codes)
    assert len(numbers_of[0].flatten(1).T.unique(dim=0)) == quantizer.num_codes
    found = quantizer(numbers_of * 2 if isinstance(quantizer, LookupFreeQuantizer) else _before(
        quantizer, numbers_of))  # fmt: skip
    assert torch.equal(found.codes, codes)
    assert torch.equal(found.quantized, numbers_of)


def _before(quantizer: FiniteScalarQuantizer, code: torch.Tensor) -> torch.Tensor:
    """Numbers that FSQ rounds to a code: the bound's inverse."""
    levels = torch.tensor(quantizer.levels, dtype=torch.float64)
    offset = torch.where(levels % 2 == 0, 0.5, 0.0)
    half = (levels - 1) * 1.001 / 2
    bounded = code.double().movedim(1, -1) * (levels // 2)
    z = ((bounded + offset) / half).clamp(-1 + 1e-12, 1 - 1e-12).atanh() - (offset / half).atanh()
    return z.movedim(-1, 1).float()


@pytest.mark.parametrize("index", [134217727, 16777217, 123456789])
def test_indices_are_whole_numbers_beyond_float32(index: int) -> None:
    """Sums of float32 give 134217728, 16777216 and 123456792."""
    levels = [8] * 9
    digits = to_digits(torch.tensor(index), levels)
    assert int(to_index(digits, levels)) == index
    quantizer = FiniteScalarQuantizer(levels)
    codes = torch.full((1, 1, 1), index)
    again = quantizer(_before(quantizer, quantizer.embed(codes))).codes
    assert again.dtype == torch.int64
    assert int(again) == index


def test_fsq_rounds_in_float32_under_autocast() -> None:
    z, quantizer = torch.randn(64, 5, 8, 8), FiniteScalarQuantizer([8, 8, 8, 6, 5])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = quantizer(z)
    assert found.quantized.dtype == torch.float32
    assert torch.equal(found.codes, quantizer(z).codes)
    moved = (quantizer(z.bfloat16()).codes != quantizer(z).codes).float().mean()
    assert 0.001 < moved < 0.03  # of the order of 0.0065: a last layer in bf16 moves indices


def test_numbers_that_are_none_stay_inside_the_codebook() -> None:
    z = torch.tensor([math.nan, math.inf, -math.inf]).view(3, 1, 1, 1).expand(3, 4, 1, 1)
    for quantizer in (FiniteScalarQuantizer(LEVELS), LookupFreeQuantizer(16)):
        codes = quantizer(z).codes
        assert 0 <= codes.min() <= codes.max() < quantizer.num_codes


def test_weights_for_other_levels_of_the_same_product_are_refused() -> None:
    """Without the levels in the state it is empty and loads anywhere."""
    state = FiniteScalarQuantizer([8, 6, 5]).state_dict()
    FiniteScalarQuantizer([8, 6, 5]).load_state_dict(state)
    with pytest.raises(ValueError, match=r"levels \[8, 6, 5\] of the weights"):
        FiniteScalarQuantizer([5, 6, 8]).load_state_dict(state)


def test_golden_indices_of_lfq_most_significant_bit_first() -> None:
    found = LookupFreeQuantizer(16)(grid(numbers(6, 4)))
    assert found.codes.flatten().tolist() == [14, 9, 3, 4, 9, 2]
    assert LookupFreeQuantizer(16)(torch.zeros(1, 4, 1, 1)).codes.item() == 0  # sign(0) = -1


@pytest.mark.parametrize(("factor", "golden"), [(100.0, -0.15607104), (1.0, -0.12606913)])
def test_golden_entropies_of_lfq(factor: float, golden: float) -> None:
    quantizer, z = LookupFreeQuantizer(16, factor=factor), grid(numbers(6, 4))
    terms = quantizer.terms(z, quantizer(z))
    # the other code's logarithm stops at 1e-5: 6e-8 of the second value
    assert float(terms["entropy"].mean()) == pytest.approx(golden, abs=1e-7)


def test_parts_of_the_entropy_of_lfq() -> None:
    """By bits 1.2040838015, exactly as by codes; the batch's 2.4648, not 2.7242 as of bits."""
    quantizer, z = LookupFreeQuantizer(16, entropy_weight=1.0), grid(numbers(6, 4))
    found = quantizer(z)
    both = quantizer.terms(z, found)["entropy"].mean()
    places = quantizer.eval().terms(z, found)["entropy"].mean()
    assert float(places) == pytest.approx(1.2040838015, abs=2e-8)
    assert float(places - both) == pytest.approx(2.4647745512, abs=2e-8)
    codes = 2.0 * to_digits(torch.arange(16), (2,) * 4).flip(-1).double() - 1
    p = (2 * z.flatten(1) @ codes.T).softmax(1)
    slow = float(torch.special.entr(p).sum(1).mean()), float(torch.special.entr(p.mean(0)).sum())
    assert (float(places), float(places - both)) == pytest.approx(slow)


def test_the_entropy_counts_places_and_not_batches() -> None:
    quantizer, z = LookupFreeQuantizer(16), torch.randn(6, 4, 3, 3)
    once = quantizer.terms(z, quantizer(z))["entropy"].mean()
    twice = torch.cat([z, z])
    assert quantizer.terms(twice, quantizer(twice))["entropy"].mean() == pytest.approx(float(once))
    wide = torch.cat([z, z], dim=3)
    found = quantizer.terms(wide, quantizer(wide))["entropy"].mean()
    assert float(found) == pytest.approx(2 * float(once), rel=1e-5)


@pytest.mark.ddp
def test_the_entropy_is_that_of_all_ranks(two_ranks: Any) -> None:
    """Local 2.2074 and 2.1526 of three rows each; of all 2.4647745512. Gradients agree, too."""
    two_ranks.assert_same("tests.methods.programs_vqvae:batch_entropy", atol=1e-9)


def test_a_high_factor_has_no_gradient_but_at_ties() -> None:
    z = torch.tensor([0.001, 0.1, 0.5]).view(3, 1, 1, 1).requires_grad_()
    quantizer = LookupFreeQuantizer(2, factor=100.0, diversity=0.0, commitment_weight=0.0)
    quantizer.terms(z, quantizer(z))["entropy"].sum().backward()
    assert z.grad is not None
    assert z.grad[0].abs() > 1e-2
    assert z.grad[1:].abs().max() < 1e-8


def test_a_dead_number_is_seen_in_its_own_entropy() -> None:
    """All codes of two numbers, the third always the same: usage 1 / 5, one entropy 0."""
    usage = CodebookUsage(60, levels=(4, 3, 5))
    usage.update(torch.arange(12) + 12 * 2)
    found = {name: float(value) for name, value in usage.compute().items()}
    assert found["codebook_usage"] == pytest.approx(0.2)
    assert found["perplexity"] == pytest.approx(12)
    assert [found[f"level_entropy_{i}"] for i in (1, 2, 3)] == pytest.approx([1, 1, 0])


def test_usage_of_stages_is_apart() -> None:
    usage = CodebookUsage(4, stages=2)
    usage.update(torch.tensor([[[0, 3, 1, 3], [2, 3, 3, 3]]]))  # places (0, 3) (1, 3) (2, 3) (3, 3)
    found = {name: float(value) for name, value in usage.compute().items()}
    assert found["codebook_usage"] == pytest.approx(5 / 8)
    assert found["perplexity"] == pytest.approx(2)  # of 4 and 1
    assert (found["level_entropy_1"], found["level_entropy_2"]) == pytest.approx((1, 0))
