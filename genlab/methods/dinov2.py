"""iBOT and DINOv2: self-distillation of images, and of patches that the student does not see.

Zhou, Wei, Wang, Shen, Xie, Yuille, Kong 2022, arXiv:2111.07832 (iBOT); Oquab et al. 2023,
arXiv:2304.07193 (DINOv2); reference code bytedance/ibot and facebookresearch/dinov2. iBOT has one
head for both (``shared_head``), no KoLeo, centred targets; DINOv2 two heads, KoLeo, and targets by
Sinkhorn and Knopp.
Departures: as in `dino`; the patches' centre is that of masked patches (iBOT's is that of all);
KoLeo looks for neighbours in all processes; gradients are clipped for each parameter or by their
whole norm, not for each network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor, nn

from genlab import losses, networks, optim
from genlab.augment.draws import for_images, rows_of_this_rank
from genlab.augment.masks import STREAM, BlockMasks
from genlab.augment.pairs import crops, large
from genlab.contracts import Batch
from genlab.errors import check_names
from genlab.metrics import log_steps
from genlab.metrics.embedding import similarities
from genlab.networks import modes, multicrop
from genlab.networks.ema import cosine_to_one, ema_copy, ema_step
from genlab.networks.pending import Pending
from genlab.networks.positions import fix_positions
from genlab.networks.prototypes import PrototypeHead

TARGETS = ("centring", "sinkhorn")
LARGE = 2  # views whose features spread, in every preset


class DINOv2(L.LightningModule):
    """Self-distillation of a ViT: views agree, and masked patches are told from the others.

    Centre and Sinkhorn codes are those of the batch of all processes. Probes and export read
    ``encoder``, the student's; ``pretrained_options: {take: ema}`` loads the teacher's from a run,
    which the papers evaluate. ``pretrained`` continues weights of elsewhere: teacher and student
    begin as they are, heads and mask token are new.

    Args:
        channels: C of the images.
        image_size: H = W in pixels, a whole number of patches.
        encoder: name of a ViT of timm; see `networks.encoder`.
        projector_dims: hidden widths and output width D of a head.
        projector_norm: ``batch``, ``layer`` or null, between its layers; batch norm of patches is
            over the masked ones of all processes.
        prototypes: K, number of outputs for images.
        patch_prototypes: number of outputs for patches; null for K.
        shared_head: True for one head for images and patches.
        train_gain: True to train the length of each prototype; it begins at 1.
        temperature: tau of the student.
        teacher_temperature: T of the teacher.
        warmup_temperature: T at the start; null for no warm-up.
        temperature_epochs: epochs in which T goes from ``warmup_temperature`` to
            ``teacher_temperature`` in equal steps, one an epoch.
        targets: ``centring`` or ``sinkhorn``, the way in which the teacher avoids a single output.
        centre_decay: fraction of the centres kept at each step.
        mask_chance: share of the large views that have a mask.
        mask_ratio: smallest and largest share of patches in a mask.
        patch_weight: factor of the patches' loss.
        koleo_weight: factor of the spread of the features; 0 for none.
        ema_decay: m of the teacher at the start; it rises to 1 along a cosine.
        positions: ``learnt``, or ``sine`` for fixed positions of the encoder, from which a small
            ViT learns in fewer steps. Pretrained weights keep theirs.
        freeze_steps: optimiser steps at the start in which the prototypes stay as drawn.
        freeze_encoder_steps: optimiser steps at the start in which heads alone are trained.
        freeze: the encoder's first stages that are not trained, a number or ``all``.
        teacher_features: True for features of the teacher in `forward` and validation.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``dynamic_img_size``, ``drop_path_rate`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss (nats, lower): loss_image + patch_weight loss_patch + koleo_weight loss_koleo.
        train/loss_image (nats, lower): cross entropy of the teacher's distribution of a large view
            with the student's of another view; mean over the batch and all such pairs.
        train/loss_patch (nats, lower): the same of each masked patch of a large view; mean over an
            image's masked patches, then over all large views; those without a mask count as 0.
        train/loss_koleo (nats, lower): -log of the distance to the nearest other image's features
            of length one, mean over images, sum over large views.

    Raises:
        ValueError: an argument is out of its range, an unknown encoder, or one that is not a ViT.
    """

    configure_callbacks = log_steps
    law_exceptions: ClassVar = {"repeat": "KoLeo: a repeated image is its own neighbour"}
    centre: Tensor
    patch_centre: Tensor
    encoder_ema: Any
    heads: Any  # of images, and of patches where they have their own
    heads_ema: Any

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 224,
        encoder: str = "vit_small_patch16_224",
        projector_dims: Sequence[int] = (2048, 2048, 256),
        projector_norm: str | None = None,
        prototypes: int = 65536,
        patch_prototypes: int | None = None,
        shared_head: bool = False,
        train_gain: bool = True,
        temperature: float = 0.1,
        teacher_temperature: float = 0.07,
        warmup_temperature: float | None = None,
        temperature_epochs: int = 0,
        targets: str = "sinkhorn",
        centre_decay: float = 0.9,
        mask_chance: float = 0.5,
        mask_ratio: Sequence[float] = (0.1, 0.5),
        patch_weight: float = 1.0,
        koleo_weight: float = 0.1,
        ema_decay: float = 0.992,
        positions: str = "learnt",
        freeze_steps: int = 0,
        freeze_encoder_steps: int = 0,
        freeze: int | str = 0,
        teacher_features: bool = False,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        losses.check_self_distillation(self.hparams)
        _check(dict(self.hparams))
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        grid, (low, high) = self.encoder.token_grid(trained=True), mask_ratio
        self.blocks = BlockMasks(grid, mask_chance, (low, high))
        if positions == "sine" and not pretrained:
            fix_positions(self.encoder.backbone, grid)
        self.encoder.freeze(freeze)
        width, counts = self.encoder.out_dim, (prototypes, patch_prototypes or prototypes)
        self.heads = nn.ModuleList(
            PrototypeHead(width, projector_dims, projector_norm, count, train_gain)
            for count in counts[: 1 if shared_head else 2]
        )
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.encoder_ema = ema_copy(self.encoder, noise=False)
        self.heads_ema = ema_copy(self.heads, noise=False)
        self.register_buffer("centre", torch.zeros(prototypes))
        self.register_buffer("patch_centre", torch.zeros(counts[0 if shared_head else 1]))
        self.temperature, self.teacher_temperature = temperature, teacher_temperature
        self.warmup_temperature, self.temperature_epochs = warmup_temperature, temperature_epochs
        self.patch_weight, self.koleo_weight = patch_weight, koleo_weight
        self.centre_decay, self.ema_decay = centre_decay, ema_decay
        self.balanced, self.teacher_features = targets == "sinkhorn", teacher_features
        self.loss_of_batch = self.balanced or koleo_weight > 0  # accumulation does not enlarge it
        self.freeze_steps, self.freeze_encoder_steps = freeze_steps, freeze_encoder_steps
        self.pending = Pending()  # the teacher's scores of images and of patches

    def on_fit_start(self) -> None:
        """Refuse views of a size that the encoder cannot take."""
        multicrop.check_sizes(self.encoder, self.trainer)

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F), before the head."""
        return (self.encoder_ema if self.teacher_features else self.encoder)(image)

    def embed(self, image: Tensor) -> Tensor:
        """The student's embeddings, compared with its prototypes: (B, C, H, W) -> (B, D)."""
        return self.heads[0].projector(self.encoder(image))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Cross entropies of views and of masked patches, and the spread of features, nats.

        Large views come first in what follows, masked for the student.
        """
        views = crops(batch)  # V x (B, C, h, w)
        wide = [views[i] for i in large(views)]  # G of them
        small = [view for i, view in enumerate(views) if i not in large(views)]
        masked, where = self.masks(wide, batch)  # (G B, N) bool, (M,)
        counted = masked.flatten()[where]  # (M,) bool: there is room to spare
        seen = self.encoder.tokens(torch.cat(wide), masked=masked, mask_token=self.mask_token)
        h = [*self.encoder.pooled(seen).chunk(len(wide)), *multicrop.by_size(self.encoder, small)]
        z = self.heads[0].projector(torch.cat(h))  # (V B, D)
        scores = self.heads[0].prototypes(z).chunk(len(views))  # V x (B, K)
        taught, hidden = self.teach(torch.cat(wide), where, counted)  # (G B, K), (M, K)
        targets = self.targets(taught, self.centre)
        by_view = dict(enumerate(targets.chunk(len(wide))))
        parts = {
            "loss_image": losses.swapped_prediction(scores, by_view, self.temperature),
            "loss_patch": losses.masked_distillation(
                self.heads[-1](seen.patches.flatten(0, 1)[where], counted),
                self.targets(hidden, self.patch_centre, counted),
                losses.patch_weights(masked).flatten()[where],
                self.temperature,
            ),
        }
        loss = parts["loss_image"] + self.patch_weight * parts["loss_patch"]
        if self.koleo_weight:
            parts["loss_koleo"] = torch.stack([losses.koleo(one) for one in h[: len(wide)]]).sum()
            loss = loss + self.koleo_weight * parts["loss_koleo"]
        totals = losses.score_total(taught), losses.score_total(hidden, counted)
        self.pending.put(batch_idx, *(total[None] for total in totals))
        told = {name: part.detach() for name, part in parts.items()}
        told |= losses.information(parts["loss_image"], targets)
        return {"loss": loss} | told | similarities(*z.chunk(len(views))[:2])

    def masks(self, wide: Sequence[Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """Masks of the large views, and places of their patches, masked ones first.

        Returns:
            (G B, N) bool, and (M,) indices into G B N; M is large enough whatever is drawn.
        """
        drawn = [
            for_images(self.blocks, batch | {"image": view}, True, STREAM + k)["masked"]
            for k, view in enumerate(wide)
        ]
        masked = torch.cat(drawn)  # (G B, N)
        own = len(wide[0])
        most = len(wide) * self.blocks.most(own, rows_of_this_rank(own)[1])
        order = masked.flatten().to(torch.uint8).argsort(descending=True, stable=True)
        return masked, order[:most]

    @torch.no_grad()
    def teach(self, image: Tensor, where: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's scores of images (B, C, H, W) and of some patches: (B, K), (M, K)."""
        seen, heads = self.encoder_ema.tokens(image), self.heads_ema
        patches = seen.patches.flatten(0, 1)[where]  # (M, F)
        return heads[0](self.encoder_ema.pooled(seen)), heads[-1](patches, counted)

    def targets(self, scores: Tensor, centre: Tensor, counted: Tensor | None = None) -> Tensor:
        """The teacher's distributions: (M, K) -> (M, K); only rows that count balance others."""
        warm = self.warmup_temperature, self.teacher_temperature, self.temperature_epochs
        temperature = losses.warmed_temperature(*warm, self.current_epoch)
        if self.balanced:
            return losses.sinkhorn(scores, temperature, counted=counted)
        return losses.centred_target(scores, centre, temperature)

    def collapsed_loss(self, images: int) -> float:
        """Loss of uniform distributions and equal features, for a global batch of ``images``."""
        patch = self.patch_weight * self.blocks.chance * math.log(len(self.patch_centre))
        spread = LARGE * self.koleo_weight * losses.koleo_of_equal(self.encoder.out_dim)
        return math.log(len(self.centre)) + patch + spread

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Output for callbacks: ``feature`` (B, F) and ``embedding`` (B, D) of unaltered images."""
        h = self(batch["image"])  # (B, F)
        heads = self.heads_ema if self.teacher_features else self.heads
        return {"feature": h, "embedding": heads[0].projector(h)}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep the prototypes frozen at first, and the encoder for a time of its own."""
        if self.global_step < self.freeze_steps:
            modes.leave_out(*(head.prototypes for head in self.heads))
        if self.global_step < self.freeze_encoder_steps:
            modes.leave_out(self.encoder)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Teacher and centres move once per optimiser step, whatever the gradient accumulation."""
        super().optimizer_step(*args, **kwargs)
        self.after_step(self.global_step, optim.total_steps(self))

    def after_step(self, step: int, total: float) -> None:
        """Move teacher and centres after optimiser step ``step`` (from 0) of ``total``."""
        decay = cosine_to_one(self.ema_decay, step, total)
        ema_step(self.encoder_ema, self.encoder, decay)
        ema_step(self.heads_ema, self.heads, decay)
        seen = self.pending.take()
        for centre, totals in zip((self.centre, self.patch_centre), seen, strict=True):
            centre.copy_(losses.moved_centre(centre, totals, self.centre_decay))

    def on_step_skipped(self) -> None:
        """Forget the scores of a step that was given up."""
        self.pending.drop()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])


def _check(given: dict[str, Any]) -> None:
    """Refuse arguments that are out of their range.

    Raises:
        ValueError: with the argument's name.
    """
    check_names("targets", [given["targets"]], TARGETS)
    check_names("positions", [given["positions"]], ("sine", "learnt"))
    for name in ("freeze_encoder_steps", "patch_weight", "koleo_weight"):
        if given[name] < 0:
            raise ValueError(f"{name} {given[name]} must be at least 0")
    if given["shared_head"] and given["patch_prototypes"] not in (None, given["prototypes"]):
        raise ValueError("patch_prototypes cannot be combined with shared_head")
