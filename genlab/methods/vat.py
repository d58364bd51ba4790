"""VAT: predictions that do not change in the direction in which they change most.

Miyato, Maeda, Koyama, Ishii 2018, arXiv:1704.03976; reference code takerum/vat_tf and, for MNIST,
takerum/vat. ``entropy_weight`` 1 is the paper's VAT+EntMin.
Departures: batch norm's running statistics are those of the unlabelled images; the reference code
has those of the labelled ones, and on MNIST computes them anew from the others at the end. The
gradient of a perturbation is that of the sum over images, not of their mean: the constants that
keep a direction's length from 0 then mean the same in every batch. ``step`` is 1e-3, not 1e-6: in
float32 a step of 1e-6 gives a direction with a cosine of 0.2 to the exact one, 1e-3 one of 0.93,
as in float64 (a small CNN on 64 images).

The average of the weights is the callback `EMAWeights`; the papers have none.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab import losses, networks, optim
from genlab.augment.pairs import two_streams
from genlab.contracts import Batch
from genlab.metrics import ClassReport, log_steps
from genlab.networks.modes import statistics_kept


class VAT(L.LightningModule):
    """A classifier of few labelled and many unlabelled images; takes ``data.labels``.

    Args:
        num_classes: number of labels K.
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of a backbone; see `networks.encoder`.
        radius: Euclidean length epsilon of a perturbation, in pixels of [0, 1].
        step: length xi of the step by which a direction's effect is measured; the paper: 1e-6.
        power_iterations: number K of iterations towards the direction of the largest effect.
        unlabeled_weight: alpha of the distance between the predictions; the paper: 1.
        entropy_weight: weight of the entropy of the predictions on unlabelled images; 0 for none.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``variant``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss (nats, lower): loss_labeled + alpha loss_unlabeled, plus entropy_weight times
            prediction_entropy.
        train/loss_labeled (nats, lower): cross entropy of the labelled images.
        train/loss_unlabeled (nats, lower): KL divergence of the prediction on the perturbed image
            from that on the image, mean over the unlabelled images.
        train/prediction_entropy (nats): entropy of the predictions on unlabelled images, mean.

    Raises:
        ValueError: an argument is out of its range, or an unknown encoder.
    """

    configure_callbacks = log_steps

    def __init__(
        self,
        num_classes: int = 10,
        channels: int = 1,
        image_size: int = 28,
        encoder: str = "small_cnn",
        radius: float = 2.0,
        step: float = 1e-3,
        power_iterations: int = 1,
        unlabeled_weight: float = 1.0,
        entropy_weight: float = 0.0,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        _check(dict(self.hparams))
        self.radius, self.step, self.power_iterations = radius, step, power_iterations
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.head = nn.Linear(self.encoder.out_dim, num_classes)
        self.class_report = ClassReport(num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F)."""
        return self.encoder(image)

    def logits(self, image: Tensor) -> Tensor:
        """Scores of the classes before softmax: (B, C, H, W) -> (B, K)."""
        return self.head(self.encoder(image))

    def perturbed_logits(self, image: Tensor) -> Tensor:
        """Scores without a trace in batch norm's running statistics: (M, C, H, W) -> (M, K)."""
        with statistics_kept(self):
            return self.logits(image)

    @torch.enable_grad()
    def perturbation(self, image: Tensor, logits: Tensor) -> Tensor:
        """The direction of the largest effect, ``radius`` long: (M, C, H, W) -> (M, C, H, W).

        Args:
            image: images of any values.
            logits: their scores (M, K), which are constants here.
        """
        d = torch.randn_like(image)
        for _ in range(self.power_iterations):
            d = (self.step * unit(d)).requires_grad_()
            distance = losses.prediction_kl(logits.detach(), self.perturbed_logits(image + d))
            (d,) = torch.autograd.grad(distance.sum(), d)
        return self.radius * unit(d)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Cross entropy of B labelled images plus alpha times the local distance of M others."""
        image, label, x, _ = two_streams(batch)
        loss_x = F.cross_entropy(self.perturbed_logits(image).float(), label)

        with torch.autocast(x.device.type, enabled=False):  # 1e-3 is no step in bfloat16
            x = x.float()
            logits = self.logits(x)  # (M, K), of these images alone: no effect where d = 0
            r = self.perturbation(x, logits)  # (M, C, H, W)
            moved = self.perturbed_logits(x + r)  # (M, K)
        loss_u = losses.prediction_kl(logits.detach(), moved).mean()
        entropy = losses.prediction_entropy(logits).mean()

        loss = loss_x + self.hparams["unlabeled_weight"] * loss_u
        if self.hparams["entropy_weight"]:
            loss = loss + self.hparams["entropy_weight"] * entropy
        found = {"loss_labeled": loss_x, "loss_unlabeled": loss_u, "prediction_entropy": entropy}
        return {"loss": loss} | found

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Cross entropy in nats and `classification_metrics`."""
        self.class_report.update("val", self.logits(batch["image"]), batch["label"])

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """As validation, with AUROC and the confusion matrix."""
        self.class_report.update("test", self.logits(batch["image"]), batch["label"])

    def on_validation_epoch_end(self) -> None:
        """Metrics of the whole split, over all ranks."""
        self.log_dict(self.class_report.compute("val"), sync_dist=True)

    def on_test_epoch_end(self) -> None:
        """As validation."""
        self.log_dict(self.class_report.compute("test"), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])


def unit(d: Tensor) -> Tensor:
    """Directions of length 1, of length 0 where there is none: (M, ...) -> (M, ...).

    The two constants are those of the reference code.
    """
    rows = d.detach().flatten(1)
    rows = rows / (rows.abs().amax(1, keepdim=True) + 1e-12)
    return (rows / (rows.square().sum(1, keepdim=True) + 1e-6).sqrt()).view_as(d)


def _check(given: dict[str, Any]) -> None:
    """Validate arguments; the encoder validates its own.

    Raises:
        ValueError: an argument is out of range; the message gives the range.
    """
    if given["num_classes"] < 2:
        raise ValueError(f"num_classes must be at least 2, got {given['num_classes']}")
    for name in ("radius", "step"):
        if not given[name] > 0:
            raise ValueError(f"{name} must be above 0, got {given[name]}")
    if given["power_iterations"] < 1:
        raise ValueError(f"power_iterations must be at least 1, got {given['power_iterations']}")
    for name in ("unlabeled_weight", "entropy_weight"):
        if given[name] < 0:
            raise ValueError(f"{name} must be at least 0, got {given[name]}")
