"""KNN: the weighted nearest neighbours of a frozen encoder's features; nothing is trained.

Wu, Xiong, Yu, Lin 2018, arXiv:1805.01978, section 3.4; as a measure of self-supervised features,
Caron et al. 2021 (DINO), arXiv:2104.14294, with k = 20. Departures: see `metrics.knn_scores`.
"""

from __future__ import annotations

from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor, nn

from genlab import metrics, networks
from genlab.contracts import Batch, data_of
from genlab.metrics import log_steps


class KNN(L.LightningModule):
    """Classify an image by the labels of the training images with the most similar features.

    ``fit`` encodes the training images, without augmentation and in order, when it starts; its
    steps do nothing. The features of all training images are part of the checkpoint.

    Args:
        num_classes: number of labels K.
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name, see `networks.encoder`; on the command line null is that of ``pretrained``.
        pretrained: weights of the encoder; False for random features.
        pretrained_options: options for loading them; see `checkpoints.load_backbone`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        k: neighbours that vote.
        temperature: T of their weights exp(similarity / T).
        distance: ``cosine`` or ``euclidean``.

    Logs:
        train/loss (1): always 0: nothing is trained.

    Raises:
        ValueError: no encoder, a setting out of range, or weights that do not fit.
    """

    features: Tensor
    label: Tensor
    position: Tensor

    configure_callbacks = log_steps
    reads_views = False

    def __init__(
        self,
        num_classes: int = 10,
        channels: int = 3,
        image_size: int = 32,
        encoder: str | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        k: int = 20,
        temperature: float = 0.07,
        distance: Literal["cosine", "euclidean"] = "cosine",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if encoder is None:
            raise ValueError("KNN requires pretrained=RUN (or encoder=NAME, for random features)")
        self.knn = metrics.KNN(num_classes, k, temperature, distance)
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.encoder.freeze("all")
        self.encoder.eval()
        self.clock = nn.Parameter(torch.zeros(()))  # Lightning and DDP want something to train
        self._keep(torch.zeros(0, self.encoder.out_dim), *torch.zeros(2, 0, dtype=torch.int64))
        self.register_load_state_dict_pre_hook(_make_room)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, the encoder's: (B, C, H, W) -> (B, F)."""
        return self.encoder(image)

    def logits(self, image: Tensor) -> Tensor:
        """Logarithms of the classes' shares of the votes: (B, C, H, W) -> (B, K)."""
        self._hand_over_bank()
        return self.knn.scores(self(image)).clamp(min=1e-12).log()

    def on_fit_start(self) -> None:
        """Encode the training images."""
        data: Any = data_of(self.trainer)
        loader = data.bank_dataloader("train", shard=True)
        with self.trainer.precision_plugin.forward_context():
            bank = metrics.collect(self, (data.to_device(raw, self.device) for raw in loader))
        self._keep(*bank)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """A loss of 0 without gradient: there is nothing to train."""
        return {"loss": self.clock.square()}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect the queries."""
        self.knn.update(self(batch["image"]), batch["label"], batch["index"])

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        """``val/knn_top1`` and ``val/knn_top5``."""
        self._log_figures("val")

    def on_test_epoch_end(self) -> None:
        self._log_figures("test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One that counts the steps."""
        return torch.optim.SGD([self.clock], lr=0.0)

    def _log_figures(self, split: str) -> None:
        self._hand_over_bank()
        values = {f"{split}/{noun}": value for noun, value in self.knn.compute().items()}
        self.log_dict(values, sync_dist=True)
        self.knn.reset()

    def _hand_over_bank(self) -> None:
        if self.knn.bank is None or self.knn.bank.features is not self.features:
            self.knn.set_bank(metrics.Bank(self.features, self.label, self.position))

    def _keep(self, features: Tensor, label: Tensor, position: Tensor) -> None:
        for name, rows in (("features", features), ("label", label), ("position", position)):
            self.register_buffer(name, rows)


def _make_room(method: Any, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Make room for the rows of a checkpoint's bank."""
    for name in ("features", "label", "position"):
        if (rows := state_dict.get(prefix + name)) is not None:
            method.register_buffer(name, torch.empty_like(rows, device=method.device))
