"""Readers of a batch's views."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genlab.augment.pairs import crops, large, pair, single


def batch(*sides: int, n: int = 4) -> Any:
    return {"views": [torch.rand(n, 1, side, side) for side in sides]}


def test_any_number_of_views_comes_in_order() -> None:
    given = batch(8, 4, 8, 4)
    found = crops(given)
    assert all(a is b for a, b in zip(found, given["views"], strict=True))
    assert len(crops(batch(8, n=1), least=1)) == 1


def test_large_views_are_those_of_the_longest_side() -> None:
    assert large(crops(batch(4, 8, 4, 8))) == [1, 3]
    assert large(crops(batch(8, 8))) == [0, 1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"image": torch.rand(4, 1, 8, 8)}, r"set data\.views"),
        (batch(8), r"at least 2 views of an image, data\.views gives 1"),
        (batch(8, 8, n=1), "two images per process"),
        (batch(8, 8, 3), r"views of 3 px are not at least 4 px: set data\.views\.small\.size"),
    ],
)
def test_what_a_method_cannot_compare_is_refused(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        crops(given)


def test_a_pair_is_two_views() -> None:
    assert len(pair(batch(8, 8))) == 2
    with pytest.raises(ValueError, match=r"2 views .* gives 3"):
        pair(batch(8, 8, 8))


def test_an_only_view_stands_for_the_image() -> None:
    plain: Any = {"image": torch.rand(4, 1, 8, 8), "seed": 3}
    assert single(plain) is plain
    given = plain | batch(8)
    found = single(given)
    assert found["image"] is given["views"][0]
    assert found["seed"] == 3
    with pytest.raises(
        ValueError, match=r"reads 1 view of an image, data\.views gives 2: set data"
    ):
        single(plain | batch(8, 8))
