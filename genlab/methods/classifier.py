"""Classifier: supervised training of an encoder and a linear head; also measures samples.

Every trick is a switch that is off by default: focal loss (Lin et al. 2017, arXiv:1708.02002),
flooding (Ishida et al. 2020, arXiv:2002.08709), label smoothing (Szegedy et al. 2015,
arXiv:1512.00567), mixup and CutMix (see `augment.Mixing`), class weights, prior bias, freezing.
Departure: class weights multiply the loss and the sum is divided by the number of labelled images,
not by the sum of their weights as in torch: N processes then train as one would.
"""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from genlab import checkpoints, distributed, losses, networks, optim
from genlab.augment import Mixing
from genlab.contracts import Batch, CountsClasses, data_of
from genlab.internals import lightning_parts
from genlab.metrics import ClassReport, log_steps
from genlab.networks.norms import CosineLinear

HIGHEST = {
    "dropout": 1,
    "head_scale": math.inf,
    "focal_gamma": math.inf,
    "focal_alpha": 1,
    "label_smoothing": 1,
    "flooding": math.inf,
    "mix_prob": 1,
}
CHOICES: dict[str, Any] = {
    "loss": losses.CLASS_LOSSES,
    "tta": ("none", "hflip"),
    "head": ("new", "file"),
}
PRIOR = 0.01  # of every class at the start of binary focal loss: Lin et al. 2017, section 4.1


class Classifier(L.LightningModule):
    """Cross entropy on labelled images, or one of its relatives.

    Args:
        num_classes: number of labels K.
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: ``small_cnn`` or a timm name; see `networks.encoder`.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width``, ``drop_path_rate`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.
        head: ``new``, or ``file`` for that of the ``pretrained`` file, of as many classes, whose
            order the data must have.
        freeze: the encoder's first stages that are not trained, a number or ``all``.
        dropout: probability that a feature is dropped before the head.
        head_scale: 0 for a linear head; else logits are the cosine between features and each
            class's weights, times a learned scale that starts here (10 is usual).
        loss: ``cross_entropy``, ``focal`` (softmax) or ``binary_focal`` (one sigmoid a class).
        focal_gamma: focusing exponent gamma; 0 is cross entropy.
        focal_alpha: weight of the right class in ``binary_focal``, 1 - alpha of the others.
        label_smoothing: share of the target spread evenly over the classes.
        flooding: flood level b: the training loss is kept above it; 0 for none.
        class_weights: ``none``, ``balanced`` (N / (K N_k) of the training images) or K numbers,
            used as they are.
        mixup: a of mixup's Beta(a, a); 0 for none.
        cutmix: a of CutMix's; 0 for none.
        mix_prob: probability that a batch is mixed.
        prior_bias: start the head at the classes' frequencies, or at 0.01 with ``binary_focal``.
        tta: ``none``, or ``hflip``: outside training, logits are the mean over image and mirror
            image.

    Logs:
        train/loss (nats, lower): the recipe's loss, mean over the labelled images; smoothing,
            mixing, class weights and flooding included.
        train/accuracy (fraction, higher): share of labelled training images whose class is right,
            as augmented; of a mixed image the larger share's class.

    Raises:
        ValueError: an argument is out of its range, or an unknown encoder.
    """

    class_weights: Tensor | None
    from_data: Tensor | None

    configure_callbacks = log_steps
    reads_views = False

    def __init__(
        self,
        num_classes: int = 10,
        channels: int = 1,
        image_size: int = 28,
        encoder: str = "small_cnn",
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
        head: str = "new",
        freeze: int | str = 0,
        dropout: float = 0.0,
        head_scale: float = 0.0,
        loss: str = "cross_entropy",
        focal_gamma: float = 2.0,
        focal_alpha: float = 0.25,
        label_smoothing: float = 0.0,
        flooding: float = 0.0,
        class_weights: str | list[float] = "none",
        mixup: float = 0.0,
        cutmix: float = 0.0,
        mix_prob: float = 1.0,
        prior_bias: bool = False,
        tta: str = "none",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        _check(dict(self.hparams))
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.encoder.freeze(freeze)
        self.dropout = nn.Dropout(dropout)
        self.head = _head(self.encoder.out_dim, num_classes, head_scale)
        if head == "file":
            checkpoints.load_head(self.head, self.encoder.report)
        if prior_bias and loss == "binary_focal":
            nn.init.constant_(self.head.bias, -math.log((1 - PRIOR) / PRIOR))
        weights = None if class_weights == "none" else torch.ones(num_classes)
        if weights is not None and isinstance(class_weights, list):
            weights = torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights)
        counts = class_weights == "balanced" or (prior_bias and loss != "binary_focal")
        self.register_buffer("from_data", torch.tensor(False) if counts else None)
        self.mixing = Mixing(num_classes, mixup, cutmix, mix_prob) if mixup or cutmix else None
        self.class_report = ClassReport(num_classes)

    def setup(self, stage: str) -> None:
        """Set what depends on class counts, when training starts; a checkpoint has its own."""
        if stage != "fit" or self.from_data is None or self.from_data:
            return
        counts = self._class_counts()
        share = counts / counts.sum()  # (K,)
        if self.hparams["class_weights"] == "balanced" and self.class_weights is not None:
            self.class_weights.copy_(1 / (share * len(share)))
        if self.hparams["prior_bias"] and self.hparams["loss"] != "binary_focal":
            with torch.no_grad():
                self.head.bias.copy_(share.log())
        self.from_data.fill_(True)

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F)."""
        return self.encoder(image)

    def logits(self, image: Tensor) -> Tensor:
        """Scores of the classes before softmax or sigmoid: (B, C, H, W) -> (B, K)."""
        scores = self.head(self.dropout(self.encoder(image)))
        if self.training or self.hparams["tta"] == "none":
            return scores
        return (scores + self.head(self.encoder(image.flip(-1)))) / 2

    def probabilities(self, logits: Tensor) -> Tensor:
        """Class probabilities; with ``binary_focal`` rows need not sum to 1: (B, K) -> (B, K)."""
        binary = self.hparams["loss"] == "binary_focal"
        return logits.float().sigmoid() if binary else logits.float().softmax(1)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The loss and the accuracy, means over the labelled images.

        Of a mixed image the class with the larger share counts as right.
        """
        image, target = batch["image"], batch["label"]  # (B, C, H, W), (B,)
        known = distributed.all_reduce_sum((target >= 0).sum()).clamp(min=1)
        known = known / distributed.world_size()  # unlabelled images, -1, count for nothing
        if self.mixing is not None:
            image, target = self.mixing(image, target)  # now (B, K)
        logits = self.logits(image)  # (B, K)
        right = logits.argmax(1) == (target if target.ndim == 1 else target.argmax(1))
        loss = self._nll(logits, target).sum() / known
        if self.hparams["flooding"]:
            loss = losses.flooding(loss, self.hparams["flooding"])
        return {"loss": loss, "accuracy": right.sum() / known}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Cross entropy in nats, whatever the training loss, and `classification_metrics`."""
        self._measure("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """As validation, with AUROC and the confusion matrix."""
        self._measure("test", batch)

    def on_validation_epoch_end(self) -> None:
        """Metrics of the whole split, over all ranks."""
        self.log_dict(self.class_report.compute("val"), sync_dist=True)

    def on_test_epoch_end(self) -> None:
        """As validation."""
        self.log_dict(self.class_report.compute("test"), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _nll(self, logits: Tensor, target: Tensor) -> Tensor:
        """Each image's loss: (B, K), (B,) or (B, K) -> (B,)."""
        return losses.class_nll(
            self.hparams["loss"],
            logits,
            target,
            weight=self.class_weights,
            label_smoothing=self.hparams["label_smoothing"],
            gamma=self.hparams["focal_gamma"],
            alpha=self.hparams["focal_alpha"],
        )

    def _class_counts(self) -> Tensor:
        """Training images of each class, (K,); a class without any counts as one image."""
        data = data_of(lightning_parts.trainer_of(self))
        if not isinstance(data, CountsClasses):
            raise ValueError("class_weights and prior_bias require data with class_counts")
        counts = data.class_counts
        padded = list(counts) + [0] * (self.hparams["num_classes"] - len(counts))
        return torch.tensor(padded, dtype=torch.float32, device=self.device).clamp(min=1)

    def _measure(self, split: str, batch: Batch) -> None:
        logits = self.logits(batch["image"])  # (B, K)
        self.class_report.update(split, logits, batch["label"], self.probabilities(logits))


def _head(width: int, classes: int, scale: float) -> Any:
    return CosineLinear(width, classes, scale) if scale else nn.Linear(width, classes)


def _check(given: dict[str, Any]) -> None:
    """Validate arguments; the encoder and `Mixing` validate their own.

    Raises:
        ValueError: an argument is out of range; the message gives the range.
    """
    classes, weights = given["num_classes"], given["class_weights"]
    if classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {classes}")
    for name, allowed in CHOICES.items():
        if given[name] not in allowed:
            raise ValueError(f"unknown {name} {given[name]!r}; choose from {', '.join(allowed)}")
    if given["head"] == "file" and given["prior_bias"]:
        raise ValueError("head=file cannot be combined with prior_bias, which sets the head's bias")
    if given["head_scale"] and (given["head"] == "file" or given["prior_bias"]):
        raise ValueError("head_scale cannot be combined with head=file or prior_bias: no bias")
    for name, highest in HIGHEST.items():
        if not 0 <= given[name] <= highest:
            raise ValueError(f"{name} must be in 0 ... {highest}, got {given[name]}")
    if weights in ("none", "balanced"):
        return
    if isinstance(weights, str) or len(weights) != classes or min(weights) < 0:
        raise ValueError(f"class_weights must be none, balanced or {classes} numbers >= 0")
