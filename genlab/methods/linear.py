"""Linear probe: a linear classifier on the features of a frozen encoder.

The encoder runs in eval mode and without gradient; its weights and batch-norm statistics do not
change. Protocol and initialisation: He et al. 2020 (MoCo), arXiv:1911.05722, section 4.1; batch
norm without affine before the classifier: He et al. 2022 (MAE), arXiv:2111.06377, appendix A.1.
Departures: optimiser and augmentation are the recipe's; MoCo trains 100 epochs with SGD at lr 30.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab import distributed, networks, optim
from genlab.contracts import Batch, data_of
from genlab.metrics import Bank, ClassReport, collect, log_steps
from genlab.networks.encoders.stages import stage_features


class LinearProbe(L.LightningModule):
    """Softmax regression on features that stand before any projector.

    Args:
        num_classes: number of labels K.
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name, see `networks.encoder`; on the command line null is that of ``pretrained``.
        pretrained: weights of the encoder; False probes random features.
        pretrained_options: options for loading them; see `checkpoints.load_backbone`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        batch_norm: standardise the features by batch norm without weights. Over several
            devices each has its own statistics unless ``trainer.sync_batchnorm`` is on.
        precompute: encode the training and validation images once, when training starts, and look
            the features up. The same training for a fraction of the time; the features of all
            images must fit in memory and the data must not be augmented.
        stage: stage of the encoder that gives the features, from 0, the stem; null for the last.
        optimizer: settings of the classifier's optimiser; see `optim.build`.

    Logs:
        train/loss (nats, lower): cross entropy, mean over the labelled images.
        train/accuracy (fraction, higher): share of labelled training images whose class is right.

    Raises:
        ValueError: no encoder, fewer than two classes, or weights that do not fit.
    """

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
        batch_norm: bool = False,
        precompute: bool = False,
        stage: int | None = None,
        optimizer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if encoder is None:
            raise ValueError(
                "LinearProbe requires pretrained=RUN (or encoder=NAME, for random features)"
            )
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.encoder.freeze("all")
        self.encoder.eval()
        self.stage, width = stage, self.encoder.out_dim
        if stage is not None:
            width = self(torch.zeros(1, channels, image_size, image_size)).shape[1]
        self.norm = nn.BatchNorm1d(width, affine=False, eps=1e-6) if batch_norm else nn.Identity()
        self.head = nn.Linear(width, num_classes)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.class_report = ClassReport(num_classes)
        self.banks: dict[str, Bank] = {}  # of precomputed features

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, the encoder's: (B, C, H, W) -> (B, F)."""
        if self.stage is None:
            return self.encoder(image)
        return stage_features(self.encoder, self.stage, self.encoder, image)

    def logits(self, image: Tensor) -> Tensor:
        """Scores of the classes before softmax: (B, C, H, W) -> (B, K)."""
        return self._classify(self(image))

    def on_fit_start(self) -> None:
        """Encode every image once, if asked to; a resumed run does it again, to the same end.

        Raises:
            ValueError: the training images change from epoch to epoch.
        """
        if not self.hparams["precompute"]:
            return
        data: Any = data_of(self.trainer)
        finish = getattr(data, "finish", None)
        if finish is not None and (finish.augment or finish.binarize == "dynamic"):
            raise ValueError("precompute needs fixed images: remove augment and binarize")
        loaders = {"train": data.bank_dataloader("train", shard=True), "val": data.val_dataloader()}
        with self.trainer.precision_plugin.forward_context():
            self.banks = {
                split: collect(self, (data.to_device(raw, self.device) for raw in loader))
                for split, loader in loaders.items()
                if len(loader)
            }

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Cross entropy in nats and accuracy, means over the labelled images."""
        label = batch["label"]
        logits = self._classify(self._features(batch, "train"))  # (B, K)
        known = distributed.all_reduce_sum((label >= 0).sum()).clamp(min=1)
        known = known / distributed.world_size()  # unlabelled images, -1, count for nothing
        loss = F.cross_entropy(logits.float(), label, ignore_index=-1, reduction="sum") / known
        return {"loss": loss, "accuracy": (logits.argmax(1) == label).sum() / known}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Cross entropy and `classification_metrics`."""
        self._measure(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """As validation, with AUROC."""
        self._measure(batch, "test")

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.class_report.compute("val"), sync_dist=True)

    def on_test_epoch_end(self) -> None:
        self.log_dict(self.class_report.compute("test"), sync_dist=True)

    def on_fit_end(self) -> None:
        self.banks = {}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _features(self, batch: Batch, split: str) -> Tensor:
        """(B, F), looked up by the images' positions or computed."""
        bank = self.banks.get(split)
        if bank is None:
            return self(batch["image"])
        return bank.features[torch.searchsorted(bank.position, batch["index"])]

    def _classify(self, features: Tensor) -> Tensor:
        return self.head(self.norm(features))

    def _measure(self, batch: Batch, split: str) -> None:
        logits = self._classify(self._features(batch, split))  # (B, K)
        self.class_report.update(split, logits, batch["label"])
