"""Images of a ViT's patch tokens and attention during training."""

from __future__ import annotations

from typing import Any

import lightning as L
from torch import Tensor

from genlab.callbacks._first_images import first_images
from genlab.drawing.columns import titled
from genlab.drawing.may_fail import may_fail
from genlab.drawing.tokens import WHITE, heat, peak, principal_colours
from genlab.networks import Encoder
from genlab.networks.encoders.tokens import has_tokens
from genlab.networks.modes import still
from genlab.training.tracking.shown import publish, run_name

CAPTION = (
    f"heads: attention, black 0, white {WHITE} times the mean or more; in brackets the largest "
    "weight over the mean, 1.00x where attention is even"
)


class TokenPictures(L.Callback):
    """``pictures/tokens-*.png``: images, their patches' tokens in red, green, blue, and attention.

    A row for each image. Red, green and blue are the first three principal components of the tokens
    of all patches shown. One column for each head of the last block: attention of the class token
    to the patches, or the mean over all patches without one, on one scale for all heads and runs:
    black is 0 and white four times the mean weight or more. A head's title has the largest weight
    over the mean, 1.00x where attention is even; a caption says so.
    For methods whose ``encoder`` is a plain ViT; ignored for others. Drawn at the end of training,
    of the first validation images.

    Args:
        count: number of rows.
        most_heads: number of heads shown at most.

    Raises:
        ValueError: no row, or no head.
    """

    def __init__(self, count: int = 8, most_heads: int = 6) -> None:
        if count < 1 or most_heads < 1:
            raise ValueError(
                f"TokenPictures.count and most_heads must be at least 1, got {count}, {most_heads}"
            )
        self.count, self.most_heads = count, most_heads

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        encoder = getattr(pl_module, "encoder", None)
        if not trainer.is_global_zero or not isinstance(encoder, Encoder):
            return
        if not has_tokens(encoder.backbone):
            return
        batch = first_images(trainer, pl_module, self.count)
        if batch is None:
            return
        with still(pl_module), may_fail("pictures/tokens"):
            title = f"{run_name(trainer, pl_module)}, step {trainer.global_step:,}"
            drawn = titled(self._columns(encoder, batch), title, captions=[CAPTION])
            publish(trainer, "tokens", drawn, trainer.global_step)

    def _columns(self, encoder: Encoder, batch: Any) -> dict[str, Tensor]:
        image = batch["image"]
        found = encoder.tokens(image)
        columns = {"image": image, "components": principal_colours(found.patches, found.grid)}
        heads = encoder.attention(image)[:, : self.most_heads].unbind(1)
        titles = (f"head {k} ({peak(one):.2f}x)" for k, one in enumerate(heads, 1))
        return columns | {
            title: heat(one)[:, None] for title, one in zip(titles, heads, strict=True)
        }
