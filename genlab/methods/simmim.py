"""SimMIM: predict the pixels of masked squares from all tokens, with one linear map.

Xie, Zhang, Cao, Lin, Bao, Yao, Dai, Hu 2022, arXiv:2111.09886; reference code microsoft/SimMIM
(d3e29bc). A mask token stands in for the masked patches, and the encoder sees all places.
Departures: plain ViTs alone, not Swin; positions are fixed sines (learnt ones that start near 0 are
slow to learn), there relative ones of all layers; the target is the image as it enters the encoder,
in [0, 1] unless ``encoder_kwargs.normalize`` says otherwise; squares at the far borders are cut off
where they do not divide the grid, which the reference refuses.

Features are the mean of the patches' tokens.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from genlab import losses, networks, optim
from genlab.augment.draws import Params, for_images
from genlab.augment.masks import STREAM, UnitMasks
from genlab.augment.pairs import single
from genlab.augment.patches import joined
from genlab.contracts import Batch
from genlab.errors import check_names
from genlab.metrics import MaskedError, log_steps
from genlab.networks.positions import fix_positions

LOSSES = ("l1", "l2")


class SimMIM(L.LightningModule):
    """Masked image modelling: only for ViTs, whose patches a token can stand in for.

    Masks are drawn for the batch of all processes. Squares of a single patch are too easy: what
    lies around them tells them.

    Args:
        channels: C of the images.
        image_size: H = W in pixels, a multiple of the patch.
        encoder: name of a ViT; see `networks.encoder`.
        mask_ratio: share of the squares that are masked.
        unit_size: side of a square in patches; 32 px in the paper.
        loss: ``l1`` or ``l2`` over masked pixels. The paper's ``l1`` is lowest at the median: of
            sparse strokes a prediction of mere background, in which a small network stays.
        positions: ``sine`` for fixed positions of the encoder, ``learnt`` for trained ones.
            Pretrained weights keep theirs.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder; pooling must be of patches alone
            (``class_token: false, global_pool: avg, fc_norm: false``).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss, val/loss (pixel value, lower): |prediction - image| (``l1``) or its square
            (``l2``), mean over the channels of masked pixels and over those of the batch, or of
            the split.

    Raises:
        ValueError: an argument is out of its range, an encoder without tokens of patches, or one
            that pools others than those.
    """

    configure_callbacks = log_steps

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 224,
        encoder: str = "vit_base_patch16_224",
        mask_ratio: float = 0.6,
        unit_size: int = 2,
        loss: str = "l1",
        positions: str = "sine",
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_names("positions", [positions], ("sine", "learnt"))
        check_names("loss", [loss], LOSSES)
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.grid = self.encoder.token_grid(trained="patches")
        self.side = image_size // self.grid[0]  # of a patch in pixels
        self.masks = UnitMasks(self.grid, unit_size, mask_ratio)
        if positions == "sine" and not pretrained:
            fix_positions(self.encoder.backbone, self.grid)
        width = self.encoder.token_dim
        self.mask_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(width), std=0.02))
        self.head = nn.Linear(width, channels * self.side**2)
        self.masked_error, self.squared = MaskedError(), loss == "l2"

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, of all patches: (B, C, H, W) -> (B, F)."""
        return self.encoder(image)

    def encode(self, image: Tensor, tokens: bool = False) -> Tensor:
        """Features (B, F), or the tokens of all patches (B, h w, D)."""
        return self.encoder.tokens(image).patches if tokens else self.encoder(image)

    def decode(self, image: Tensor, masked: Tensor) -> Tensor:
        """Prediction of the image, as it enters the encoder: (B, C, H, W), (B, h w) bool."""
        found = self.encoder.tokens(image, masked=masked, mask_token=self.mask_token)
        return joined(self.head(found.patches), self.grid, image.shape[1])

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Distance of the masked pixels."""
        batch = single(batch)
        image, masked = batch["image"], self._drawn(batch)["masked"]
        prediction = self.decode(image, masked)  # (B, C, H, W)
        target = self.encoder.normalize(image)
        return losses.masked_pixels(prediction, target, self._pixels(masked), self.squared)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As training, each image with its own fixed mask; ``feature`` (B, F) of whole images."""
        image, masked = batch["image"], self._drawn(batch)["masked"]
        prediction, target = self.decode(image, masked), self.encoder.normalize(image)
        found = losses.pixel_sums(prediction, target, self._pixels(masked), self.squared)
        self.masked_error.update(**found)
        return {"feature": self.encoder(image)}

    def on_validation_epoch_end(self) -> None:
        """Loss of the split, and the share of its baseline that is explained."""
        found = self.masked_error.compute()
        self.masked_error.reset()
        self.log_dict({f"val/{key}": value for key, value in found.items()}, sync_dist=False)

    @torch.no_grad()
    def task_pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Visible squares, the image, and its prediction where it is masked."""
        image, masked = batch["image"], self._drawn(batch)["masked"]
        hidden = self._pixels(masked)
        prediction = self.encoder.normalize.undone(self.decode(image, masked), image)
        output = torch.where(hidden, prediction, image).clamp(0, 1)
        return {"input": torch.where(hidden, 0.5, image), "target": image, "output": output}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _drawn(self, batch: Batch) -> Params:
        return for_images(self.masks, batch, self.training, STREAM)

    def _pixels(self, masked: Tensor) -> Tensor:
        """Masked patches as pixels: (B, h w) -> (B, 1, H, W) bool."""
        cells = masked.unflatten(1, (1, *self.grid))
        return cells.repeat_interleave(self.side, 2).repeat_interleave(self.side, 3)
