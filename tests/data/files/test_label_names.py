"""Classes from texts: one order, whatever the order of a set."""

from __future__ import annotations

from pathlib import Path

import pytest

from genlab.data import BrokenDataError
from genlab.data.files.label_names import in_order

FILE = Path("table.csv")


def test_numbers_are_in_their_order_and_other_names_in_the_alphabets() -> None:
    assert in_order({"10", "2", "01"}, FILE) == ["01", "2", "10"]
    assert in_order({"b", "10", "2"}, FILE) == ["10", "2", "b"]


@pytest.mark.parametrize("names", [{"1", "01", "2"}, {"3", " 3"}, {"-0", "0"}])
def test_names_that_are_the_same_number_are_refused(names: set[str]) -> None:
    """Their order would be the set's: another in every process."""
    with pytest.raises(BrokenDataError, match=r"table\.csv: classes '.*' and '.*' are the same"):
        in_order(names, FILE)
