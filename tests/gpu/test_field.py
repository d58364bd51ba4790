"""The field kit's checks on this machine's GPUs; ``--device cpu``: the same, small."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from genlab.testing import field

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="session")
def place(request: pytest.FixtureRequest) -> Iterator[field.Place]:
    device = request.config.getoption("--device")
    if device == "cuda" and not field.found():
        pytest.skip("no GPU here; --device cpu tries the kit itself")
    made = field.Place(device)
    yield made
    made.close()


@pytest.mark.parametrize(("check", "subject"), field.tasks())
def test_a_check(place: field.Place, check: str, subject: str) -> None:
    result = field.tried(place, check, subject)
    assert result.measurements
    assert not [measurement for measurement in result.measurements if measurement.bad]
