"""Jigsaw: the encoder sees the tiles of an image one by one, a head tells how they were permuted.

Noroozi, Favaro 2016, arXiv:1603.09246; reference code MehdiNoroozi/JigsawPuzzleSolver (8c7ec09).
Departures: sets of permutations with the largest smallest distance, derived and not drawn, see
`permutations`; the encoder is any of genlab's that takes tiles; channels shift as a whole, not
tile by tile.

Guards: a gap of random width between tiles, mean and deviation of each tile taken away, some
images grey, channels shifted. Without them seams and brightness solve the puzzle: of 2 x 2
puzzles of CIFAR-10 the smoothest seams alone solve 80 %, and 6 % with the guards at the default
tile, 12 of 16 px; chance is 4 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import losses, networks, optim
from genlab.augment.draws import Params, Shape, for_images, whole
from genlab.augment.pretext.permutations import SETS, permutation_set
from genlab.augment.pretext.tiles import (
    assembled,
    cell_corners,
    colour_guard,
    cut,
    draw_colour_guard,
)
from genlab.contracts import Batch
from genlab.metrics import log_steps
from genlab.networks.encoders.backbones import probe
from genlab.networks.encoders.normalization import own_normalization

STREAM = 48  # of the batch's seed
LEAST = 6  # pixels of a tile


class Jigsaw(L.LightningModule):
    """Classification of permutations of the ``grid`` x ``grid`` tiles of an image.

    All tiles of all images of a batch pass the encoder together: batch norm in a pass of one image
    would tell which tiles belong together. The encoder standardises each image, a tile or a whole
    one, and goes on doing so in what takes it over (``encoder_kwargs.normalize.per_image``).

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of the encoder; see `networks.encoder`. It must take tiles: most CNNs.
        grid: cells along a side, 2 or 3.
        tile: side of a tile as a share of its cell's; the rest is the gap.
        permutations: number P; 2 x 2 tiles: 4, 12 or 24; 3 x 3: 9, 72, 504 or 2 to 1,000.
        normalize_tiles: False to leave brightness and contrast of the tiles as they are.
        grey: chance that a coloured image becomes grey.
        channel_shift: largest shift of a colour channel, in pixels.
        head_dims: hidden widths of the head, which takes the tiles' features in order.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss, val/loss (nats, lower): cross entropy of the permutation, mean over the batch;
            log P by guessing.

    Raises:
        ValueError: an argument out of its range, images or tiles that are too small, an encoder
            that cannot take tiles, or other numbers to normalise them.
    """

    configure_callbacks = log_steps
    reads_views = False
    law_images = (3, 32)
    permutations: Tensor

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        grid: int = 2,
        tile: float = 0.75,
        permutations: int = 24,
        normalize_tiles: bool = True,
        grey: float = 0.3,
        channel_shift: int = 0,
        head_dims: Sequence[int] = (256,),
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if grid not in SETS:
            raise ValueError(f"grid {grid} must be 2 or 3")
        self.side = round(tile * (image_size // grid))
        _check(dict(self.hparams), self.side)
        table = torch.tensor(permutation_set(grid, permutations))  # (P, grid^2)
        self.register_buffer("permutations", table)  # the meaning of a label
        kwargs = dict(encoder_kwargs or {})
        if normalize_tiles:
            kwargs["normalize"] = own_normalization("normalize_tiles", kwargs)
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **kwargs
        )
        probe(encoder, self.encoder.backbone, channels, self.side)
        self.head = networks.mlp(
            grid**2 * self.encoder.out_dim, *head_dims, permutations, norm="batch"
        )

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F)."""
        return self.encoder(image)

    def logits_of(self, tiles: Tensor) -> Tensor:
        """Scores of the permutations: (B, n, C, t, t) -> (B, P); the head knows the places."""
        h = self(tiles.transpose(0, 1).flatten(0, 1))  # (n B, F), one pass
        places = h.unflatten(0, (tiles.shape[1], -1)).transpose(0, 1)  # (B, n, F)
        return self.head(places.flatten(1))

    def puzzle(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Tiles in their new order (B, n, C, t, t): place j shows tile p_j; and the label (B,)."""
        drawn = for_images(self.draw, batch, self.training, STREAM)
        image = batch["image"]
        if self.training:
            image = colour_guard(image, drawn, self.hparams["channel_shift"])
        tiles = cut(image, drawn["corner"], self.side)  # (B, n, C, t, t)
        return _ordered(tiles, self.permutations[drawn["label"]]), drawn["label"]

    def draw(self, shape: Shape, generator: torch.Generator) -> Params:
        """Label, corners of the tiles and colour guard of each of N images (N, C, H, W)."""
        given = self.hparams
        last = torch.full((shape[0],), given["permutations"] - 1, device=generator.device)
        drawn = {"label": whole(last, generator)}
        drawn["corner"] = cell_corners(shape, given["grid"], self.side, generator)
        return drawn | draw_colour_guard(shape[0], given["grey"], given["channel_shift"], generator)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Cross entropy of the permutation that was applied."""
        tiles, label = self.puzzle(batch)
        return losses.task_nll(self.logits_of(tiles), label)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As training, without colour guard; ``feature`` (B, F) of whole images for callbacks."""
        tiles, label = self.puzzle(batch)
        return losses.task_nll(self.logits_of(tiles), label) | {"feature": self(batch["image"])}

    @torch.no_grad()
    def task_pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Tiles as they are permuted, in their places, and put back by the answer."""
        tiles, label = self.puzzle(batch)
        guess = self.logits_of(tiles).argmax(1)
        orders = {"input": None, "target": label, "output": guess}
        return {
            title: assembled(
                tiles if which is None else _ordered(tiles, self.permutations[which].argsort(1)),
                self.hparams["grid"],
            )
            for title, which in orders.items()
        }

    @torch.no_grad()
    def task_answers(self, batch: Batch) -> list[tuple[str, str]]:
        """Numbers of the permutations of `task_pictures`, and of those that are told."""
        tiles, label = self.puzzle(batch)
        guess = self.logits_of(tiles).argmax(1)
        pairs = zip(label.tolist(), guess.tolist(), strict=True)
        return [(f"order {a}", f"order {g}") for a, g in pairs]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])


def _ordered(tiles: Tensor, order: Tensor) -> Tensor:
    """(B, n, C, t, t), (B, n): place j gets tile order_j."""
    rows = torch.arange(len(tiles), device=tiles.device)[:, None]
    return tiles[rows, order]


def _check(given: dict[str, Any], side: int) -> None:
    if not 0 < given["tile"] <= 1:
        raise ValueError(f"tile {given['tile']} must be a share of its cell in 0 ... 1")
    if not 0 <= given["grey"] <= 1:
        raise ValueError(f"grey {given['grey']} must be a chance in 0 ... 1")
    if given["channel_shift"] < 0:
        raise ValueError(f"channel_shift {given['channel_shift']} must be at least 0")
    if side < LEAST:
        sizes = range(given["image_size"], 10**6)
        fits = next(s for s in sizes if round(given["tile"] * (s // given["grid"])) >= LEAST)
        raise ValueError(
            f"a jigsaw of {given['image_size']} px requires tiles of at least {LEAST} px, "
            f"{given['grid']} x {given['grid']} give {side}: such tiles show strokes, not parts; "
            f"images of {fits} px are the smallest"
        )
