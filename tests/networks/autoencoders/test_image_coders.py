"""The class as one more colour, and the shared scale."""

from __future__ import annotations

import torch
from torch import nn

from genlab.networks import ClassMap, SharedScale
from genlab.networks.autoencoders.image_coders import default_downsamplings


def test_the_class_is_one_more_colour_that_differs_between_classes() -> None:
    image = torch.rand(3, 2, 8, 8)
    seen = ClassMap(4, 8)(image, torch.tensor([0, 1, 0]))
    assert torch.equal(seen[:, :2], image)
    assert torch.equal(seen[0, 2], seen[2, 2])
    assert not torch.equal(seen[0, 2], seen[1, 2])


def test_the_shared_scale_is_one_trained_number_a_colour() -> None:
    network = SharedScale(nn.Conv2d(5, 2, 1), channels=2, start=-1.5)
    maps = network(torch.randn(3, 5, 4, 4))
    assert maps.shape == (3, 4, 4, 4)
    assert (maps[:, 2:] == -1.5).all()
    maps[:, 2:].sum().backward()
    assert network.value.grad is not None
    assert network.value.grad.flatten().tolist() == [48.0, 48.0]


def test_maps_of_four_to_seven_pixels_by_default() -> None:
    sizes = [8, 28, 32, 64, 9, 31]
    assert [s >> default_downsamplings(s) for s in sizes] == [4, 7, 4, 4, 4, 7]
