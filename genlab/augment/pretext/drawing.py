"""Random parameters of a pretext task."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.augment.draws import Draw, Params, for_this_rank, generator
from genlab.contracts import Batch

SEED = 7 << 40  # of validation
ROWS = 1024  # different draws in validation


def task_draws(draw: Draw, batch: Batch, training: bool, stream: int) -> Params:
    """Parameters of each image: a training batch's by its seed, others' by the image's position.

    A training batch's are drawn for the global batch, of which each process takes its rows. In
    validation an image has the same draw in every epoch, batch and process.

    Args:
        draw: (shape of a batch, generator) -> parameters.
        batch: ``image`` (B, C, H, W), and ``seed`` in training, else ``index`` (B,).
        training: True in a training step.
        stream: number of the use of the seed, see `draws.generator`.
    """
    image = batch["image"]
    if not training:
        return _fixed(draw, image, batch["index"], stream)
    seed = batch.get("seed")
    if seed is None:  # data from elsewhere; the generator starts anew at every batch
        seed = int(torch.randint(2**62, ()))
    return for_this_rank(draw, image, seed, stream=stream)


def _fixed(draw: Draw, image: Tensor, index: Tensor, stream: int) -> Params:
    every = draw((ROWS, *image.shape[1:]), generator(SEED, image.device, stream))
    rows = index.to(image.device) % ROWS
    return {name: drawn[rows] for name, drawn in every.items()}
