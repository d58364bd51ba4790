"""Batched views against torchvision's transforms of PIL images, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, pairwise

import pytest
import torch
import torchvision.transforms as stock
from PIL import Image
from torch import Tensor, nn

from genlab.augment import views_from
from genlab.augment.colour import draw_jitter, jitter
from genlab.methods.simclr import SimCLR
from tests.augment.test_view import generator, pictures, slow_jitter
from tests.benchmarks.timing import compare

pytestmark = pytest.mark.benchmarks


def per_sample(size: int) -> Callable[[Image.Image], Tensor]:
    """The preset simclr in torchvision's transforms."""
    kernel = max(3, size // 10 // 2 * 2 + 1)
    return stock.Compose(
        [
            stock.RandomResizedCrop(size, (0.08, 1.0)),
            stock.RandomHorizontalFlip(),
            stock.RandomApply([stock.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
            stock.RandomGrayscale(0.2),
            stock.RandomApply([stock.GaussianBlur(kernel, (0.1, 2.0))], p=0.5),
            stock.ToTensor(),
        ]
    )


def both_ways(
    size: int, n: int = 256
) -> tuple[Callable[[], list[Tensor]], Callable[[], list[Tensor]]]:
    """Two views of a batch of uint8 images: image by image with PIL, and batched."""
    image = pictures(n, size=size).mul(255).byte()
    opened = [Image.fromarray(x.permute(1, 2, 0).numpy()) for x in image]
    transform, views, seeds = per_sample(size), views_from("simclr"), count()
    assert views is not None

    def singly() -> list[Tensor]:
        return [torch.stack([transform(x) for x in opened]) for _ in range(2)]

    def batched() -> list[Tensor]:
        return views(image.float().div_(255), next(seeds))

    return singly, batched


@pytest.mark.parametrize(("size", "goal"), [(32, 8.0), (96, 3.0)])
def test_views_are_several_times_as_fast_as_pil(size: int, goal: float) -> None:
    singly, batched = both_ways(size)
    found = compare(f"2 x 256 views of {size} px: PIL against batched", singly, batched, many=2)
    assert found >= goal


def test_this_fast_jitter_is_torchvisions() -> None:
    """Mean difference with the same parameters, in units of 1/255: at most 2."""
    image, drawn = pictures(256), draw_jitter(256, (0.8, 0.8, 0.8, 0.2), 0.8, 0.2, generator())
    rows = zip(*(v.tolist() for v in drawn.values()), strict=True)
    slow = torch.stack([slow_jitter(x, *row) for x, row in zip(image, rows, strict=True)])
    error = 255 * (jitter(image.clone(), **drawn) - slow).abs()
    mean, largest = float(error.mean()), float(error.max())
    print(f"\njitter against torchvision's: mean {mean:.4f}, largest {largest:.4f} / 255")
    assert mean < 2


@pytest.mark.parametrize(("width", "goal"), [(8, 4.0), (16, 3.0)])
def test_a_simclr_step_is_several_times_as_fast_as_with_pil(width: int, goal: float) -> None:
    """Views, forward, backward, optimiser: 256 images of 32 px, four convolutions.

    Both sides train the same network: the wider it is, the less the views matter.
    """
    model = SimCLR(
        encoder="small_cnn", encoder_kwargs={"width": 2 * width}, projector_dims=(256, 128)
    )
    widths = (3, width, 2 * width, 4 * width, 8 * width)
    model.encoder = nn.Sequential(  # type: ignore[assignment]
        *(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in pairwise(widths)
        ),
        nn.Flatten(),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    singly, batched = both_ways(32)

    def step(views: Callable[[], list[Tensor]]) -> None:
        optimizer.zero_grad()
        model.training_step({"views": views()}, 0)["loss"].backward()
        optimizer.step()

    name = f"SimCLR step, 256 images, convolutions of {width} ... {8 * width}: PIL against batched"
    assert compare(name, lambda: step(singly), lambda: step(batched), many=2) >= goal
