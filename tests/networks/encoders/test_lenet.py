"""LeNet: the paper's count, its shapes and refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genlab.networks import encoder


@pytest.mark.parametrize("size", [28, 32])
def test_has_the_well_known_number_of_parameters(size: int) -> None:
    network = encoder("lenet", 1, size)
    assert sum(p.numel() for p in nn.Sequential(network, nn.Linear(84, 10)).parameters()) == 61_706
    assert network.features(torch.rand(1, 1, size, size)).shape == (1, 16, 5, 5)


def test_tanh_and_mean_pooling_are_used() -> None:
    image = torch.rand(2, 1, 28, 28)
    modern, paper = encoder("lenet", 1, 28), encoder("lenet", 1, 28, act="tanh")
    mean = encoder("lenet", 1, 28, pool="avg")
    paper.load_state_dict(modern.state_dict())
    mean.load_state_dict(modern.state_dict())
    assert modern(image).min() == 0
    assert paper(image).min() < 0
    assert not torch.allclose(mean(image), modern(image))


@pytest.mark.parametrize(
    ("size", "options", "said"),
    [(8, {}, "at least 12 px, got 8"), (28, {"pool": "min"}, "choose from max, avg")],
)
def test_what_it_cannot_do_is_refused(size: int, options: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        encoder("lenet", 1, size, **options)  # type: ignore[arg-type]
