"""A linear classifier that learns beside a method, on features it cannot change."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab import distributed


class Probe(nn.Module):
    """Softmax regression on features brought to mean 0 and standard deviation 1.

    Starts at zero, so that no random number is drawn.

    Args:
        dim: F.
        num_classes: K.
    """

    mean: Tensor
    variance: Tensor
    updates: Tensor

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_classes, dim))
        self.bias = nn.Parameter(torch.zeros(num_classes))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def forward(self, h: Tensor) -> Tensor:
        """Logits: (B, F) -> (B, K)."""
        return F.linear(self.standardized(h), self.weight, self.bias)

    @torch.no_grad()
    def gradients(self, h: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the summed cross entropy by weight (K, F) and bias (K,), and how many labels counted.

        Written out: softmax minus one-hot times the features; half of what autograd costs here.

        Args:
            h: (B, F).
            label: (B,), -1 counts nothing.
        """
        x = self.standardized(h)
        error = F.linear(x, self.weight, self.bias).softmax(1)  # (B, K)
        known = (label >= 0).to(error.dtype)
        error.scatter_add_(1, label.clamp(min=0)[:, None], -torch.ones_like(error[:, :1]))
        error *= known[:, None]
        return error.T @ x, error.sum(0), known.sum()[None]

    def standardized(self, h: Tensor) -> Tensor:
        """Features as the probe sees them: (B, F) -> (B, F)."""
        return (h - self.mean) / (self.variance + 1e-6).sqrt()

    @torch.no_grad()
    def look(self, h: Tensor) -> None:
        """Let mean and variance follow the features of all ranks, as batch norm's do."""
        sums = torch.cat([h.new_full((1,), len(h)), h.sum(0), h.square().sum(0)])
        every = distributed.all_reduce_sum(sums)
        count, first, second = every.split([1, len(self.mean), len(self.mean)])
        mean = first / count
        self.updates += 1
        share = (1 / self.updates).clamp(min=0.1)  # a tensor: nothing waits for the device
        self.mean.lerp_(mean, share)
        self.variance.lerp_((second / count - mean.square()).clamp(min=0), share)


class OnlineProbe(L.Callback):
    """``val/probe_top1``: a linear probe of the features, trained at every optimiser step.

    For methods whose ``encoder`` gives the features and whose ``validation_step`` returns them as
    ``feature``. The probe learns from what the encoder makes of the training views, detached: no
    second forward pass, no gradient into the method, no random draw, and labels serve nothing
    else. It belongs to the checkpoint; images without a label teach it nothing, data without
    classes have no figure. While features move it is worse than a probe trained on their final
    state (`methods.LinearProbe`).

    Args:
        lr: of AdamW.
        weight_decay: of AdamW.

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
        self.optimizer: torch.optim.Optimizer | None = None
        self._restored: dict[str, Any] | None = None
        self._outputs: list[Tensor] = []  # of the encoder, in the present training step
        self._kept: list[tuple[Tensor, Tensor]] = []  # of the steps since the last update
        self._step = 0
        self._tally: list[Tensor] = []

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        encoder: Any = getattr(pl_module, "encoder", None)
        classes = int(getattr(getattr(trainer, "datamodule", None), "num_classes", 0) or 0)
        if encoder is None or classes < 2:
            return
        self.probe = Probe(encoder.out_dim, classes).to(pl_module.device)
        self.optimizer = torch.optim.AdamW(
            self.probe.parameters(), self.lr, weight_decay=self.weight_decay, fused=True
        )
        if self._restored is not None:
            self.probe.load_state_dict(self._restored["probe"])
            self.optimizer.load_state_dict(self._restored["optimizer"])
        self._hook = encoder.register_forward_hook(self._listen)

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
        if self._outputs:
            h = torch.cat(self._outputs).flatten(1).float()  # one row a view, view by view
            self._kept.append((h, batch["label"].repeat(len(h) // len(batch["label"]))))
            self._outputs = []
        if trainer.global_step != self._step and self._kept:
            h, label = (torch.cat(part) for part in zip(*self._kept, strict=True))
            self._learn(h, label)
            self._kept = []
        self._step = trainer.global_step

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
        if int(known) and int(self.probe.updates):
            pl_module.log("val/probe_top1", right / known, sync_dist=True)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.probe is not None:
            self._hook.remove()

    def state_dict(self) -> dict[str, Any]:
        """The classifier, its statistics and its optimiser."""
        if self.probe is None or self.optimizer is None:
            return {}
        return {"probe": self.probe.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict or None

    def _listen(self, encoder: nn.Module, images: Any, features: Tensor) -> None:
        if encoder.training and torch.is_grad_enabled():
            self._outputs.append(features.detach())

    @torch.no_grad()
    def _learn(self, h: Tensor, label: Tensor) -> None:
        """One step on the features (B, F) of this rank, with the gradient of all ranks' mean."""
        assert self.probe is not None
        assert self.optimizer is not None
        self.probe.look(h)
        parts = self.probe.gradients(h, label)
        total = distributed.all_reduce_sum(torch.cat([part.flatten() for part in parts]))
        *gradients, known = total.split([*(part.numel() for part in parts)])
        for p, gradient in zip(self.probe.parameters(), gradients, strict=True):
            p.grad = gradient.view_as(p) / known.clamp(min=1)
        self.optimizer.step()
