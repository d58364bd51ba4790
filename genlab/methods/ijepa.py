"""I-JEPA: from one part of an image, predict the features of others.

Assran, Duval, Misra, Bojanowski, Vincent, Rabbat, LeCun, Ballas 2023, arXiv:2301.08243; reference
code facebookresearch/ijepa (52c1ae9). Targets are tokens of a momentum encoder that sees the whole
image; the encoder sees the context alone; a narrow predictor gives the tokens of each target.
Departures: context and targets never overlap, and every patch can be either (see
`augment.multi_block`); targets may be standardised over the batch too; the loss is smooth L1, as in
the code, where the paper writes L2; weight decay spares norms, biases, class token and positions;
the encoder has timm's initialisation.

Features are the mean of the patches' tokens. Probes and export read ``encoder``, the trained one;
``pretrained_options: {take: ema}`` loads the momentum encoder from a run, which the paper
evaluates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import losses, networks, optim
from genlab.augment.draws import Params, for_images
from genlab.augment.masks import STREAM
from genlab.augment.multi_block import MultiBlockMasks
from genlab.augment.pairs import single
from genlab.augment.patches import cut, joined
from genlab.contracts import Batch
from genlab.errors import check_names
from genlab.metrics import TokenSpread, log_steps
from genlab.networks.ema import ema_copy, ema_step, line_to_one
from genlab.networks.encoders.tokens import chosen
from genlab.networks.positions import fix_positions
from genlab.networks.token_decoders import TokenPredictor


class IJEPA(L.LightningModule):
    """Joint-embedding prediction: only for ViTs, whose patches can be left out.

    Blocks are drawn for the batch of all processes; in a batch all have the same sizes.

    Args:
        channels: C of the images.
        image_size: H = W in pixels, a multiple of the patch.
        encoder: name of a ViT; see `networks.encoder`.
        targets: number of rectangles to predict; 2 or 3 on grids of 8 x 8 patches.
        target_scale: smallest and largest share of the patches in a target.
        target_aspect: smallest and largest height over width of a target.
        context_scale: smallest and largest share of the patches in the context's square, from
            which targets are taken away.
        predictor_width: width of the predictor; a multiple of 4 and of its heads.
        predictor_depth: blocks of the predictor.
        predictor_num_heads: attention heads of the predictor.
        ema_decay: m of the momentum encoder at the start; it rises to 1 along a line.
        target_norm: ``layer``, the paper's, or ``images``: then each component at each place also
            has mean 0 and variance 1 over the batch. Tokens of small untrained ViTs are nearly the
            same for all images; the loss of the paper then hardly depends on the image.
        positions: ``sine`` for fixed positions of the encoder, ``learnt`` for trained ones.
            Pretrained weights keep theirs.
        teacher_features: True to give the momentum encoder's features in `forward`.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder; pooling must be of patches alone
            (``class_token: false, global_pool: avg, fc_norm: false``).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss, val/loss (distance, lower): smooth L1 with beta 1 between predicted and target
            tokens, which have mean 0 and variance 1; mean over images, targets, patches and
            components. 0.42 by predicting 0.
        train/target_std, val/target_std (length, higher): standard deviation of a target's
            components over the images of this process's batch, or of the split, at one place, root
            of the mean: 1 at most, 0 after a collapse.

    Raises:
        ValueError: an argument is out of its range, an encoder without tokens of patches, or one
            that pools others than those.
    """

    configure_callbacks = log_steps
    spread_metric = "target_std"  # of a collapse; see `CollapseAlarm`

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 224,
        encoder: str = "vit_base_patch16_224",
        targets: int = 4,
        target_scale: Sequence[float] = (0.15, 0.2),
        target_aspect: Sequence[float] = (0.75, 1.5),
        context_scale: Sequence[float] = (0.85, 1.0),
        predictor_width: int = 384,
        predictor_depth: int = 6,
        predictor_num_heads: int = 12,
        ema_decay: float = 0.996,
        target_norm: str = "layer",
        positions: str = "sine",
        teacher_features: bool = False,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_names("positions", [positions], ("sine", "learnt"))
        check_names("target_norm", [target_norm], ("layer", "images"))
        if not 0 <= ema_decay <= 1:
            raise ValueError(f"ema_decay {ema_decay} must be in [0, 1]")
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.grid = self.encoder.token_grid(trained="patches")
        scale, aspect, square = (
            (float(low), float(high)) for low, high in (target_scale, target_aspect, context_scale)
        )
        self.masks = MultiBlockMasks(self.grid, targets, scale, aspect, square)
        if positions == "sine" and not pretrained:
            fix_positions(self.encoder.backbone, self.grid)
        self.predictor = TokenPredictor(
            self.encoder.token_dim, self.grid, predictor_width, predictor_depth,
            predictor_num_heads,
        )  # fmt: skip
        self.encoder_ema = ema_copy(self.encoder, noise=False)
        self.ema_decay, self.teacher_features = ema_decay, teacher_features
        self.over_images = target_norm == "images"
        self.token_spread = TokenSpread(math.prod(self.grid), self.encoder.token_dim)

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, of all patches: (B, C, H, W) -> (B, F)."""
        return (self.encoder_ema if self.teacher_features else self.encoder)(image)

    def encode(self, image: Tensor, tokens: bool = False) -> Tensor:
        """Features (B, F), or the tokens of all patches (B, h w, D)."""
        return self.encoder.tokens(image).patches if tokens else self(image)

    def predict(self, image: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        """Tokens of targets (B, M, T) from the context (B, K): -> (B, M, T, D)."""
        return self.predictor(self.encoder.tokens(image, context).patches, context, targets)

    @torch.no_grad()
    def teach(self, image: Tensor) -> Tensor:
        """The momentum encoder's tokens of the whole image: (B, h w, D)."""
        return self.encoder_ema.tokens(image).patches

    def distance(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Smooth L1 of every target's tokens, and the momentum tokens of the images."""
        image, drawn = batch["image"], self._drawn(batch)
        prediction = self.predict(image, drawn["context"], drawn["targets"])  # (B, M, T, D)
        taught = self.teach(image)  # (B, h w, D)
        targets = losses.standardised_over_images(taught) if self.over_images else taught
        wanted = chosen(targets, drawn["targets"].flatten(1)).view_as(prediction)
        return losses.token_distance(prediction, wanted, not self.over_images), taught

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Smooth L1 between predicted and momentum tokens of every target."""
        loss, taught = self.distance(single(batch))
        return {"loss": loss, "target_std": losses.spread_over_images(taught)}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As training, each image with its own fixed blocks; ``feature`` (B, F) of whole images.

        A collapse is seen by ``target_std``, of which `CollapseAlarm` warns; the features share a
        mean that hides their spread.
        """
        loss, taught = self.distance(batch)
        self.token_spread.update(taught)
        return {"loss": loss, "feature": self(batch["image"])}

    def on_validation_epoch_end(self) -> None:
        """Spread of the targets over the images of the split."""
        spread = self.token_spread.compute()
        self.token_spread.reset()
        self.log("val/target_std", spread.float(), sync_dist=False)

    @torch.no_grad()
    def task_pictures(self, batch: Batch) -> dict[str, Tensor]:
        """The image, the context that the encoder sees, and every target; the rest is grey."""
        image, drawn = batch["image"], self._drawn(batch)
        patches, shown = cut(image, self.grid), {"image": image}
        parts = {"context": drawn["context"]}
        parts |= {f"target {k + 1}": one for k, one in enumerate(drawn["targets"].unbind(1))}
        for name, index in parts.items():
            there = torch.zeros_like(patches[..., :1], dtype=torch.bool)
            there = there.scatter(1, index[..., None], value=True)
            shown[name] = joined(torch.where(there, patches, 0.5), self.grid, image.shape[1])
        return shown

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The momentum encoder moves once per optimiser step, whatever the accumulation."""
        super().optimizer_step(*args, **kwargs)
        self.after_step(self.global_step, optim.total_steps(self))

    def after_step(self, step: int, total: float) -> None:
        """Move the momentum encoder after optimiser step ``step`` (from 0) of ``total``."""
        ema_step(self.encoder_ema, self.encoder, line_to_one(self.ema_decay, step, total))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _drawn(self, batch: Batch) -> Params:
        return for_images(self.masks, batch, self.training, STREAM)
