"""Contents of an encoder: the image, decoded from each depth by the same small decoder."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.evaluation.measured import Measured, images_of
from genlab.networks import Encoder
from genlab.networks.encoders.stages import stage_maps

MOST, STEPS, BATCH, WIDTH, SHOWN = 1000, 400, 64, 32, 8


def measure(method: Any, data: Any, judge: Any = None) -> Measured:
    """Errors of images that a decoder, trained on frozen maps, makes from up to four depths.

    Every decoder has the same layers but the first, which takes a depth's channels to 32, and the
    same 400 steps on 1,000 training images; the encoder is in evaluation mode.

    Args:
        method: method with an ``encoder`` that has feature maps.
        data: data module.
        judge: None; it is not used.

    Logs:
        test/decoded_<n>_error (fraction, lower): squared error of test images decoded from depth n,
            counted from 1, the shallowest, over their variance about the mean image.
        test/decoded_<n>_numbers (numbers): size of that depth's map.
        test/decoded_first_error, test/decoded_last_error (fraction, lower): error at the first
            depth and at the last.

    Returns:
        These, and images and their likenesses from each depth.

    Raises:
        ValueError: the method has no such encoder.
    """
    encoder = getattr(method, "encoder", None)
    if not isinstance(encoder, Encoder):
        raise ValueError(f"{type(method).__name__} has no encoder whose depths can be read")
    seen, tested = (images_of(method, data, split, MOST)[0] for split in ("train", "test"))
    maps, test_maps = (_maps(encoder, image) for image in (seen, tested))
    spread = (tested - seen.mean(0)).square().mean()
    found, shown = dict[str, Any](), {"image": tested[:SHOWN]}
    for depth, (x, test) in enumerate(zip(maps, test_maps, strict=True), 1):
        again = decoded(x, seen, test)
        found[f"decoded_{depth}_error"] = float((again - tested).square().mean() / spread)
        found[f"decoded_{depth}_numbers"] = x[0].numel()
        shown[f"depth {depth}"] = again[:SHOWN].clamp(0, 1)
    found["decoded_first_error"] = found["decoded_1_error"]
    found["decoded_last_error"] = found[f"decoded_{len(maps)}_error"]
    return Measured(found, shown)


@torch.enable_grad()
def decoded(x: Tensor, image: Tensor, test: Tensor, steps: int = STEPS, seed: int = 0) -> Tensor:
    """Likenesses of test images by a decoder trained on maps of others.

    Args:
        x: maps of training images (N, F, h, w).
        image: the images (N, C, H, W).
        test: maps of test images (M, F, h, w).
        steps: steps of Adam.
        seed: seed of weights and batches; the global generator is left as it was.

    Returns:
        (M, C, H, W).
    """
    scale = x.std((0, 2, 3), keepdim=True).clamp(min=1e-6)
    x, test = ((part - x.mean((0, 2, 3), keepdim=True)) / scale for part in (x, test))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _decoder(x.shape[1], image).to(x.device)
        optimizer = torch.optim.Adam(net.parameters(), 3e-3)
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            rows = torch.randint(len(x), (min(BATCH, len(x)),)).to(x.device)
            loss = F.mse_loss(net(x[rows]), image[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    with torch.no_grad():
        return torch.cat([net(part) for part in test.split(500)])


def _decoder(channels: int, image: Tensor) -> nn.Module:
    """A 1x1 convolution, two convolutions at the map's size, two at the image's."""
    return nn.Sequential(
        nn.Conv2d(channels, WIDTH, 1),
        nn.GELU(),
        nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        nn.GELU(),
        nn.Upsample(tuple(image.shape[-2:]), mode="bilinear"),
        nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(WIDTH, image.shape[1], 3, padding=1),
    )


@torch.no_grad()
def _maps(encoder: Encoder, image: Tensor) -> list[Tensor]:
    """Maps of all depths, each whole: -> (N, F, h, w) each; tokens are maps of one row."""
    parts = [stage_maps(encoder, encoder, part) for part in image.split(500)]
    whole = [torch.cat(one) for one in zip(*parts, strict=True)]
    return [x if x.ndim == 4 else x.mT[:, :, None] for x in whole]
