"""Feedback of CTAugment: the recognition of probed images updates the rates of its operations."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.augment.ct_augment import CTAugment
from genlab.contracts import Classifies
from genlab.internals import lightning_parts
from genlab.networks.functional import logits_with
from genlab.networks.modes import evaluating


class LearnedAugment(L.Callback):
    """Update the policy's rates after every optimiser step by its probes of labelled images.

    The network predicts them in eval mode, without gradient, with the running average of its
    weights where a callback keeps one (as the reference code does; its batch norm statistics are
    as old as that average), else with the weights themselves. Rates are equal on all ranks and
    belong to the checkpoint. `Images` adds it to its trainer by itself.

    Args:
        policy: policy to update; batches contain its ``probe``.

    Raises:
        ValueError: a method that gives no predictions.
    """

    def __init__(self, policy: CTAugment) -> None:
        self.policy = policy
        self._kept: list[dict[str, Tensor]] = []  # probes since the last optimiser step
        self._step = 0

    @classmethod
    def join(cls, trainer: Any, policy: torch.nn.Module | None) -> None:
        """Add it to a trainer that has none yet, if the policy is one that learns."""
        if trainer is None or not isinstance(policy, CTAugment):
            return
        if not any(isinstance(c, cls) for c in trainer.callbacks):
            lightning_parts.add_first(trainer, cls(policy))

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        if not isinstance(pl_module, Classifies):
            name = type(pl_module).__name__
            raise ValueError(
                f"strong: ctaugment requires predictions to learn from; {name} has none"
            )
        self.policy.reset()  # a checkpoint is loaded after this

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step, self._kept = trainer.global_step, []

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
    ) -> None:
        self._kept.append(batch["probe"])
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        probe = {k: torch.cat([part[k] for part in self._kept]) for k in self._kept[0]}
        self._kept = []
        with trainer.precision_plugin.forward_context():
            p = predictions(pl_module, probe["image"], _average(trainer))
        self.policy.update(probe["op"], probe["bin"], proximity(p, probe["label"]))

    def on_step_skipped(self) -> None:
        """Forget the probes of a step that was given up."""
        self._kept = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the share of all bins that is in use."""
        used = (self.policy.weights() > 0).sum() / self.policy.bins.sum()
        pl_module.log("train/strong_bins", used.to(pl_module.device), sync_dist=True)

    def state_dict(self) -> dict[str, Any]:
        """The rates."""
        return {"rates": self.policy.rates.cpu()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict["rates"].shape == self.policy.rates.shape:  # else of other operations
            self.policy.rates = state_dict["rates"].to(self.policy.rates.device, copy=True)


def proximity(p: Tensor, label: Tensor) -> Tensor:
    """Proximity of predictions to labels, 1 - 0.5 |p - onehot|_1: (B, K), (B,) -> (B,)."""
    return 1 - 0.5 * (p - F.one_hot(label, p.shape[1])).abs().sum(1)


@torch.no_grad()
def predictions(method: Any, image: Tensor, average: dict[str, Tensor]) -> Tensor:
    """Probabilities (B, K) in eval mode; every part returns to its own mode afterwards.

    Args:
        method: method with ``logits``.
        image: (B, C, H, W).
        average: parameters to use in place of the method's, by name.
    """
    own = dict(method.named_parameters())
    weights = {name: w.to(own[name]) for name, w in average.items() if name in own}
    with evaluating(method):
        return logits_with(method, weights, image).float().softmax(1)


def _average(trainer: Any) -> dict[str, Tensor]:
    """The ``average`` of a callback such as `EMAWeights`; empty for none."""
    for callback in trainer.callbacks:
        if isinstance(average := getattr(callback, "average", None), dict):
            return average
    return {}
