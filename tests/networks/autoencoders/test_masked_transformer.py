"""MaskGIT's counts of masks, and a transformer that cannot emit its mask."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from genlab.networks.autoencoders.masked_transformer import MaskedTransformer, masked_counts


def test_golden_counts() -> None:
    """49 places in 8 steps and 256 in 12; the reference keeps one more that it then takes whole."""
    assert masked_counts(49, 8) == [48, 45, 40, 34, 27, 18, 9]
    revealed = [a - b for a, b in pairwise([49, *masked_counts(49, 8), 0])]
    assert revealed == [1, 3, 5, 6, 7, 9, 9, 9]
    assert masked_counts(256, 12) == [253, 247, 236, 221, 203, 181, 155, 128, 97, 66, 33]


def test_as_many_steps_as_places_reveal_one_at_a_time() -> None:
    assert masked_counts(49, 49) == list(range(48, 0, -1))
    assert masked_counts(49, 1) == []
    for steps in range(1, 50):
        counts = [49, *masked_counts(49, steps), 0]
        assert all(a > b for a, b in pairwise(counts))
        assert len(counts) == steps + 1


@pytest.mark.parametrize("steps", [0, 50])
def test_refuses_other_numbers_of_steps(steps: int) -> None:
    with pytest.raises(ValueError, match="steps"):
        masked_counts(49, steps)


def test_the_mask_hides_codes_in_both_directions_and_is_no_output() -> None:
    torch.manual_seed(0)
    network = MaskedTransformer(6, (3, 3), 16, 2, heads=2).eval()
    codes = torch.randint(6, (4, 3, 3))
    known = torch.rand(4, 3, 3) < 0.5
    logits = network(codes, known)
    assert logits.shape == (4, 6, 3, 3)  # not 7
    other = torch.where(known, codes, (codes + 1) % 6)
    assert torch.equal(network(other, known), logits)
    moved = codes.clone()
    moved[:, 2, 2] = (moved[:, 2, 2] + 1) % 6
    everything = torch.ones_like(known)
    change = (network(moved, everything) - network(codes, everything)).abs().amax((0, 1))
    assert (change > 0).all()  # the last code is seen by the first place, too
