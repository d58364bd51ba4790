"""MAE: reconstruct an image from a quarter of its patches.

He, Chen, Xie, Dollár, Girshick 2022, arXiv:2111.06377; reference code facebookresearch/mae
(efb2a80). The encoder sees the visible patches alone, a small decoder all places.
Departures: the encoder has timm's initialisation, the reference's that of its linear layers; the
target is the image as it enters the encoder, in [0, 1] unless ``encoder_kwargs.normalize`` says
otherwise; the loss is in float32 under autocast.

Features are the encoder's pooling of all tokens: the class token, as in the paper's linear probe,
or their mean with ``encoder_kwargs: {global_pool: avg, fc_norm: false}``. The paper's own linear
probe is weak (67.8 % for ViT-B that fine-tunes to 83.6 %), and kNN more so.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import losses, networks, optim
from genlab.augment.draws import Params, for_images
from genlab.augment.masks import STREAM, RandomMasks
from genlab.augment.pairs import single
from genlab.augment.patches import cut, joined
from genlab.contracts import Batch
from genlab.errors import check_names
from genlab.metrics import MaskedError, log_steps
from genlab.networks.positions import fix_positions
from genlab.networks.token_decoders import TokenDecoder


class MAE(L.LightningModule):
    """Masked autoencoder: only for ViTs, whose patches can be left out.

    Masks are drawn for the batch of all processes. Predicting the mean of every patch costs
    (n - 1) / n with ``norm_pix``, n the values of a patch, less where patches are of one value.

    Args:
        channels: C of the images.
        image_size: H = W in pixels, a multiple of the patch.
        encoder: name of a ViT; see `networks.encoder`.
        mask_ratio: share of the patches that the encoder does not see.
        norm_pix: True to standardise each patch of the target by its own mean and variance; of grey
            images, many of whose patches are of one value, better False.
        decoder_width: width of the decoder; a multiple of 4 and of its heads.
        decoder_depth: blocks of the decoder.
        decoder_num_heads: attention heads of the decoder.
        positions: ``sine`` for fixed positions of the encoder, ``learnt`` for trained ones.
            Pretrained weights keep theirs.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``patch_size``, ``depth`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss, val/loss (squared distance, lower): (prediction - target)^2, mean over the
            values of a patch and over masked patches.

    Raises:
        ValueError: an argument is out of its range, an encoder without tokens of patches, or one
            whose pooling has weights.
    """

    configure_callbacks = log_steps

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 224,
        encoder: str = "vit_base_patch16_224",
        mask_ratio: float = 0.75,
        norm_pix: bool = True,
        decoder_width: int = 512,
        decoder_depth: int = 8,
        decoder_num_heads: int = 16,
        positions: str = "sine",
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_names("positions", [positions], ("sine", "learnt"))
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.grid = self.encoder.token_grid(trained=True)
        self.masks = RandomMasks(self.grid, mask_ratio)
        values = channels * (image_size // self.grid[0]) ** 2  # of a patch
        if norm_pix and values < 2:
            raise ValueError("norm_pix requires patches of at least two values: set it to false")
        if positions == "sine" and not pretrained:
            fix_positions(self.encoder.backbone, self.grid)
        self.decoder = TokenDecoder(
            self.encoder.token_dim, self.grid, values, decoder_width, decoder_depth,
            decoder_num_heads,
        )  # fmt: skip
        self.norm_pix = norm_pix
        self.masked_error = MaskedError()

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, of all patches: (B, C, H, W) -> (B, F)."""
        return self.encoder(image)

    def encode(self, image: Tensor, tokens: bool = False) -> Tensor:
        """Features (B, F), or the tokens of all patches (B, h w, D)."""
        return self.encoder.tokens(image).patches if tokens else self.encoder(image)

    def decode(self, image: Tensor, keep: Tensor) -> Tensor:
        """Prediction of all patches from kept ones: (B, C, H, W), (B, K) -> (B, h w, n)."""
        return self.decoder(self.encoder.tokens(image, keep), keep)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Squared distance of the masked patches."""
        batch = single(batch)
        drawn = self._drawn(batch)
        prediction = self.decode(batch["image"], drawn["keep"])
        return losses.masked_patches(prediction, self.target(batch["image"]), drawn["masked"])

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As training, each image with its own fixed mask; ``feature`` (B, F) of whole images."""
        drawn = self._drawn(batch)
        prediction = self.decode(batch["image"], drawn["keep"])
        found = losses.patch_sums(prediction, self.target(batch["image"]), drawn["masked"])
        self.masked_error.update(**found)
        return {"feature": self.encoder(batch["image"])}

    def on_validation_epoch_end(self) -> None:
        """Loss of the split, and the share of its baseline that is explained."""
        found = self.masked_error.compute()
        self.masked_error.reset()
        self.log_dict({f"val/{key}": value for key, value in found.items()}, sync_dist=False)

    def target(self, image: Tensor) -> Tensor:
        """Patches to predict: (B, C, H, W) -> (B, h w, n)."""
        patches = cut(self.encoder.normalize(image), self.grid)
        return losses.standardised(patches) if self.norm_pix else patches

    @torch.no_grad()
    def task_pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Visible patches, the image, and its prediction where it is masked.

        With ``norm_pix`` the masked patches' own means and variances give the prediction a scale.
        """
        image, drawn = batch["image"], self._drawn(batch)
        prediction = self.decode(image, drawn["keep"])
        patches, hidden = cut(self.encoder.normalize(image), self.grid), drawn["masked"][..., None]
        if self.norm_pix:
            scale = patches.var(2, keepdim=True).sqrt()
            prediction = prediction * scale + patches.mean(2, keepdim=True)
        whole = joined(torch.where(hidden, prediction, patches), self.grid, image.shape[1])
        whole = self.encoder.normalize.undone(whole, image)
        grey = joined(torch.where(hidden, 0.5, cut(image, self.grid)), self.grid, image.shape[1])
        return {"input": grey, "target": image, "output": whole.clamp(0, 1)}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _drawn(self, batch: Batch) -> Params:
        return for_images(self.masks, batch, self.training, STREAM)
