"""Linear classifier trained alongside a method, on features that it cannot change."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab import distributed, process
from genlab.contracts import data_of
from genlab.networks.chunks import Part, passing

BETAS, EPS, EPS_VARIANCE = (0.9, 0.999), 1e-8, 1e-6


class Probe(nn.Module):
    """Softmax regression on standardised features, and its AdamW.

    Gradient and update are written out: autograd and `torch.optim` cost twice as much here, at
    every step. Starts at zero, so that no random number is drawn.

    Args:
        dim: F.
        num_classes: K.

    Attributes:
        weight: (K, F + 1), the bias in the last column.
        mean, variance: statistics of the features, (F,).
        updates: steps so far; belongs to the state dict.
    """

    weight: Tensor
    first: Tensor
    second: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        for name in ("weight", "first", "second"):
            self.register_buffer(name, torch.zeros(num_classes, dim + 1))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))
        self.updates = 0

    def get_extra_state(self) -> int:
        """The number of updates."""
        return self.updates

    def set_extra_state(self, state: int) -> None:
        """See `get_extra_state`."""
        self.updates = state

    def forward(self, h: Tensor) -> Tensor:
        """Logits: (B, F) -> (B, K)."""
        return self._logits(self._standardized(h))

    @torch.no_grad()
    def learn(self, h: Tensor, label: Tensor, lr: float, weight_decay: float) -> None:
        """One step of AdamW on the mean cross entropy over all ranks.

        Args:
            h: (B, F).
            label: (B,), -1 is ignored.
            lr: step size.
            weight_decay: decoupled weight decay of weight and bias.
        """
        self.updates += 1
        self._look(h)
        gradient, known = self._gradient(h, label)
        total = distributed.all_reduce_sum(torch.cat([gradient.flatten(), known[None]]))
        gradient = (total[:-1] / total[-1].clamp(min=1)).view_as(self.weight)
        self.first.lerp_(gradient, 1 - BETAS[0])
        self.second.lerp_(gradient.square(), 1 - BETAS[1])
        size = (self.second / (1 - BETAS[1] ** self.updates)).sqrt_().add_(EPS)
        if weight_decay:
            self.weight.mul_(1 - lr * weight_decay)
        self.weight.addcdiv_(self.first, size, value=-lr / (1 - BETAS[0] ** self.updates))

    def _gradient(self, h: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient of the summed cross entropy, (K, F + 1), and the number of labels."""
        x = self._standardized(h)
        error = self._logits(x).softmax(1)  # minus one-hot: (B, K)
        known = label >= 0
        error.scatter_add_(1, label.clamp(min=0)[:, None], error.new_full((len(x), 1), -1.0))
        error *= known[:, None]
        return torch.cat([error.T @ x, error.sum(0)[:, None]], 1), known.sum()

    def _logits(self, x: Tensor) -> Tensor:
        return torch.addmm(self.weight[:, -1], x, self.weight[:, :-1].T)

    def _standardized(self, h: Tensor) -> Tensor:
        return (h - self.mean).mul_((self.variance + EPS_VARIANCE).rsqrt_())

    def _look(self, h: Tensor) -> None:
        """Update mean and variance from the features of all ranks, as batch norm does."""
        sums = torch.cat([h.new_full((1,), len(h)), h.sum(0), h.square().sum(0)])
        every = distributed.all_reduce_sum(sums)
        mean, square = (every[1:] / every[0]).chunk(2)
        share = max(0.1, 1 / self.updates)
        self.mean.lerp_(mean, share)
        self.variance.lerp_((square - mean.square()).clamp_(min=0), share)


class OnlineProbe(L.Callback):
    """``val/probe_top1``: a linear probe of the features, trained at every optimiser step.

    For methods whose ``encoder`` gives the features and whose ``validation_step`` returns them as
    ``feature``. The probe learns from what the encoder makes of the training views, detached: no
    second forward pass, no gradient into the method, no random draw, and no other use of labels.
    It is part of the checkpoint; images without a label are ignored, with few labels (FixMatch) all
    but the labelled ones, and data without classes have
    no metric. Neither have methods that train on tokens or feature maps alone (MAE, SimMIM, I-JEPA,
    Colorization ..., and DINOv2 without small views), which a note reports after the first batch.
    While features move it is worse than a probe trained on their final state
    (`methods.LinearProbe`).

    Args:
        lr: learning rate of AdamW.
        weight_decay: weight decay of AdamW.

    Logs:
        val/probe_top1 (fraction, higher): accuracy of the linear probe on the validation images.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(self, lr: float = 3e-3, weight_decay: float = 0.0) -> None:
        if not lr > 0:
            raise ValueError(f"OnlineProbe.lr must be above 0, got {lr}")
        if weight_decay < 0:
            raise ValueError(f"OnlineProbe.weight_decay must be at least 0, got {weight_decay}")
        self.lr, self.weight_decay = lr, weight_decay
        self.probe: Probe | None = None
        self._restored: dict[str, Any] | None = None
        self._outputs: dict[Part, list[Tensor]] = {}  # of the encoder, in the present training step
        self._told = False  # that there are none
        self._kept: list[tuple[Tensor, Tensor]] = []  # of the steps since the last update
        self._step = 0
        self._tally: list[Tensor] = []

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        encoder: Any = getattr(pl_module, "encoder", None)
        classes = int(getattr(data_of(trainer), "num_classes", 0) or 0)
        if encoder is None or classes < 2:
            return
        self.probe = Probe(encoder.out_dim, classes).to(pl_module.device)
        if self._restored is not None:
            self.probe.load_state_dict(self._restored["probe"])
        self._hook, self._told = encoder.register_forward_hook(self._listen), False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step = trainer.global_step  # known only now when a run is continued

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self._say_silence(pl_module)
        for part, outputs in self._outputs.items():
            h = torch.cat(outputs).flatten(1).float()
            label = _labels(batch, len(h))
            label = label.repeat(max(1, part.rows // len(label)))[part.first :: part.step]
            self._kept.append((h, label.repeat(len(h) // len(label))))  # one row a view
        self._outputs = {}
        if trainer.global_step != self._step and self._kept:
            h, label = (torch.cat(part) for part in zip(*self._kept, strict=True))
            self._learn(h, label)
            self._kept = []
        self._step = trainer.global_step

    def on_step_skipped(self) -> None:
        """Forget the features of a step that was given up."""
        self._kept = []

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._tally = []

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self.probe is None or not isinstance(outputs, dict) or "feature" not in outputs:
            return
        guess = self.probe(outputs["feature"].flatten(1).float()).argmax(1)
        label = batch["label"]
        self._tally.append(torch.stack([(guess == label).sum(), (label >= 0).sum()]))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.probe is None or not self._tally:
            return
        right, known = distributed.all_reduce_sum(torch.stack(self._tally).sum(0))
        if int(known) and self.probe.updates:
            pl_module.log("val/probe_top1", right / known, sync_dist=True)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.probe is not None:
            self._hook.remove()

    def state_dict(self) -> dict[str, Any]:
        """The classifier, its statistics and its moments."""
        return {"probe": self.probe.state_dict()} if self.probe is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict or None

    def _listen(self, encoder: nn.Module, images: Any, features: Tensor) -> None:
        part = passing()
        if encoder.training and torch.is_grad_enabled() and not part.again:
            self._outputs.setdefault(part, []).append(features.detach())

    def _say_silence(self, method: L.LightningModule) -> None:
        """After the first batch, say that there was nothing to learn from."""
        if self.probe is not None and not self._told and not self._outputs:
            process.note(
                f"OnlineProbe: with these settings {type(method).__name__} trains without its "
                "encoder's pooled features, so there is no val/probe_top1; val/knn_top1 is "
                "OnlineKNN's"
            )
        self._told = True

    def _learn(self, h: Tensor, label: Tensor) -> None:
        """One step on the features (B, F) of this rank, with the gradient of all ranks' mean."""
        assert self.probe is not None
        self.probe.learn(h, label, self.lr, self.weight_decay)


def _labels(batch: Any, rows: int) -> Tensor:
    """Labels of a batch; of one with few labels those of the labelled images, which come first."""
    if "labeled" not in batch:
        return batch["label"]
    label = batch["labeled"]["label"]
    return F.pad(label, (0, max(0, rows - len(label))), value=-1)
