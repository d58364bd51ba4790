"""Batched views against torchvision's transforms of PIL images, one after the other."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from itertools import count, pairwise

import pytest
import torch
import torchvision.transforms as stock
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from genlab.augment import views_from
from genlab.augment.colour import draw_jitter, jitter
from genlab.data.on_device import Finish
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
    finish = Finish(resize=None, options=None, binarize="none")
    assert views is not None

    def singly() -> list[Tensor]:
        return [torch.stack([transform(x) for x in opened]) for _ in range(2)]

    def batched() -> list[Tensor]:
        return views(finish(image), next(seeds))

    return singly, batched


@pytest.mark.parametrize(("size", "goal"), [(32, 12.0), (96, 3.5)])
def test_views_are_several_times_as_fast_as_pil(size: int, goal: float) -> None:
    singly, batched = both_ways(size)
    found = compare(f"2 x 256 views of {size} px: PIL against batched", singly, batched, many=2)
    assert found >= goal


def test_views_against_the_tensor_transforms_of_others() -> None:
    """Torchvision's v2, image by image on uint8 tensors, and kornia's, on the whole batch."""
    stack = {"v2": by_v2(32), "kornia": by_kornia(32)}
    image, (_, batched) = pictures(256).mul(255).byte(), both_ways(32)
    for name, transform in stack.items():
        if transform is None:
            print(f"\n{name} is not installed: not compared")
            continue
        title, goal = f"2 x 256 views of 32 px: {name} against batched", {"v2": 15, "kornia": 3}
        found = compare(title, lambda: [transform(image) for _ in range(2)], batched, many=2)  # noqa: B023
        assert found >= goal[name]


def by_v2(size: int) -> Callable[[Tensor], Tensor]:
    """The preset simclr in torchvision.transforms.v2."""
    kernel = max(3, size // 10 // 2 * 2 + 1)
    one = v2.Compose(
        [
            v2.RandomResizedCrop(size, (0.08, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(kernel, (0.1, 2.0))], p=0.5),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    return lambda image: torch.stack([one(x) for x in image])


def by_kornia(size: int) -> Callable[[Tensor], Tensor] | None:
    """The preset simclr in kornia's batched augmentations; None where it is not installed."""
    try:
        augmentation = importlib.import_module("kornia.augmentation")
    except ImportError:
        return None
    kernel = max(3, size // 10 // 2 * 2 + 1)
    every = nn.Sequential(
        augmentation.RandomResizedCrop((size, size), (0.08, 1.0)),
        augmentation.RandomHorizontalFlip(),
        augmentation.ColorJitter(0.8, 0.8, 0.8, 0.2, p=0.8),
        augmentation.RandomGrayscale(p=0.2),
        augmentation.RandomGaussianBlur((kernel, kernel), (0.1, 2.0), p=0.5),
    )
    return lambda image: every(image.float().div_(255))


def test_this_fast_jitter_is_torchvisions() -> None:
    """Mean difference with the same parameters, in units of 1/255: at most 2."""
    image, drawn = pictures(256), draw_jitter(256, (0.8, 0.8, 0.8, 0.2), 0.8, 0.2, generator())
    rows = zip(*(v.tolist() for v in drawn.values()), strict=True)
    slow = torch.stack([slow_jitter(x, *row) for x, row in zip(image, rows, strict=True)])
    error = 255 * (jitter(image.clone(), **drawn) - slow).abs()
    mean, largest = float(error.mean()), float(error.max())
    print(f"\njitter against torchvision's: mean {mean:.4f}, largest {largest:.4f} / 255")
    assert mean < 2


def four_convolutions(width: int) -> SimCLR:
    """SimCLR on a plain network of four strided convolutions, ``width`` to 8 ``width``."""
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
    return model


@pytest.mark.parametrize(("width", "goal"), [(8, 4.0), (16, 3.0)])
def test_a_simclr_step_is_several_times_as_fast_as_with_pil(width: int, goal: float) -> None:
    """Views, forward, backward, optimiser: 256 images of 32 px, four convolutions.

    Both sides train the same network: the wider it is, the less the views matter.
    """
    model = four_convolutions(width)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    singly, batched = both_ways(32)

    def step(views: Callable[[], list[Tensor]]) -> None:
        optimizer.zero_grad()
        model.training_step({"views": views()}, 0)["loss"].backward()
        optimizer.step()

    name = f"SimCLR step, 256 images, convolutions of {width} ... {8 * width}: PIL against batched"
    assert compare(name, lambda: step(singly), lambda: step(batched), many=2) >= goal
