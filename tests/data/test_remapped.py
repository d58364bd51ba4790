"""Images with exchanged grey levels: permutations that keep as much order as they say."""

from __future__ import annotations

import pytest
import torch

from genlab.data import Digits, RemappedDigits
from genlab.data.remapped import level_table

GREY = torch.arange(256, dtype=torch.uint8)


@pytest.mark.parametrize("window", [1, 2, 16, 256])
@pytest.mark.parametrize("negative", [False, True])
def test_a_table_is_a_permutation_within_its_windows(window: int, negative: bool) -> None:
    table = level_table(negative, window)
    assert torch.equal(table.sort().values, GREY)
    straight = table.flip(0) if negative else table
    assert torch.equal(straight.int() // window, GREY.int() // window)
    assert torch.equal(straight, GREY) == (window == 1)
    assert window < 16 or not torch.equal(table, level_table(negative, window, seed=1))


def test_a_window_divides_the_levels() -> None:
    for window in (0, 3, 512):
        with pytest.raises(ValueError, match=f"window {window} does not divide 256"):
            RemappedDigits(window=window)


def test_images_are_remapped_alike_and_labels_and_splits_stay() -> None:
    plain, negative = Digits(val_size=200), RemappedDigits(val_size=200, negative=True)
    shuffled = RemappedDigits(val_size=200, window=256)
    batches = {}
    for data in (plain, negative, shuffled):
        data.setup()
        batches[data] = data.to_device(next(iter(data.bank_dataloader("val"))))
    image = batches[plain]["image"]
    torch.testing.assert_close(batches[negative]["image"], 1 - image)
    other = batches[shuffled]["image"]
    levels = {float(v): set(other[image == v].tolist()) for v in image.unique()}
    assert all(len(new) == 1 for new in levels.values())
    assert len(set().union(*levels.values())) == len(levels)
    assert not torch.equal(other, image)
    for data in (negative, shuffled):
        assert torch.equal(batches[data]["label"], batches[plain]["label"])
        assert torch.equal(batches[data]["index"], batches[plain]["index"])
