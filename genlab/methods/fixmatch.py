"""FixMatch: train the strong view of an image to predict the pseudo-label of the weak view.

Sohn et al. 2020, arXiv:2001.07685; reference code google-research/fixmatch. By ``rule`` also
pseudo-labels (Lee 2013), UDA (Xie et al. 2019, arXiv:1904.12848; without its annealing of labelled
images), FlexMatch (Zhang et al. 2021, arXiv:2110.08263), FreeMatch (Wang et al. 2022,
arXiv:2205.07246) and SoftMatch (Chen et al. 2023, arXiv:2301.10921).
Departures: running statistics move after the optimiser's step, see `pseudo_label_rules`; in
``pseudo_label`` strong views still pass through batch norm, as in the other rules.

The average of the weights that the papers report is the callback `EMAWeights`.
"""

from __future__ import annotations

import sys
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab import distributed, losses, networks, optim
from genlab.augment.pairs import two_streams
from genlab.contracts import Batch, FewLabelled, data_of
from genlab.errors import nearest
from genlab.internals import lightning_parts
from genlab.metrics import ClassReport, log_steps
from genlab.metrics.pseudo_labels import PseudoLabels
from genlab.networks.pseudo_label_rules import RULES, Alignment, FreeThreshold

ALIGNED = ("none", "uniform", "labels")
COLLAPSED = 0.5  # of the entropy of evenly spread pseudo-labels
NAMED = 20  # classes up to which each one's share is logged


class FixMatch(L.LightningModule):
    """A classifier of few labelled and many unlabelled images; takes ``data.labels``.

    Args:
        num_classes: number of labels K.
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of a backbone; see `networks.encoder`.
        rule: weights and targets of the unlabelled images: ``fixmatch``,
            ``pseudo_label``, ``uda``, ``flexmatch``, ``freematch`` or ``softmatch``.
        threshold: tau of the first four, in (0, 1]; the papers: 0.95, UDA 0.8.
        temperature: T by which ``uda`` sharpens what it learns; unused by hard labels, and the
            threshold never sees it.
        unlabeled_weight: lambda of the unlabelled loss.
        warmup_steps: optimiser steps over which lambda rises from 0, as ``pseudo_label`` does.
        fairness: weight of FreeMatch's fairness loss (the paper: 0.01 to 0.05).
        align: distribution alignment of the weak predictions with ``uniform`` classes or with
            those of the ``labels``; ``none`` for none. In ``softmatch`` for the weights alone.
        decay: fraction kept at each step of the running statistics of the last two rules and of
            the alignment.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``variant``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss (nats, lower): loss_labeled + lambda loss_unlabeled, plus fairness times
            loss_fairness.
        train/loss_labeled (nats, lower): cross entropy of the labelled images.
        train/loss_unlabeled (nats, lower): weight times cross entropy of the strong view against
            the target, mean over all unlabelled images.
        train/loss_fairness (nats, lower): FreeMatch's fairness loss, see `losses.class_fairness`.
        train/mask_rate (fraction): mean weight of the unlabelled images: the share that passes the
            threshold.
        train/agreement (fraction, higher): share of unlabelled images with one class in both views.

    Raises:
        ValueError: an argument is out of its range, or an unknown encoder or rule.
    """

    configure_callbacks = log_steps

    def __init__(
        self,
        num_classes: int = 10,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "wrn_28_2",
        rule: str = "fixmatch",
        threshold: float = 0.95,
        temperature: float = 0.4,
        unlabeled_weight: float = 1.0,
        warmup_steps: int = 0,
        fairness: float = 0.0,
        align: str = "none",
        decay: float = 0.999,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        _check(dict(self.hparams))
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.head = nn.Linear(self.encoder.out_dim, num_classes)
        self.rule = RULES[rule](num_classes, threshold, temperature, decay)
        self.alignment = None if align == "none" else Alignment(num_classes, decay)
        self._seen: list[tuple[Tensor, Tensor]] = []  # predictions since the last optimiser step
        self.pseudo_labels = PseudoLabels(num_classes)
        self._warned = False
        self.class_report = ClassReport(num_classes)

    def setup(self, stage: str) -> None:
        """Set what depends on the data, when training starts; a checkpoint has its own."""
        data = data_of(lightning_parts.trainer_of(self))
        if stage != "fit" or not isinstance(data, FewLabelled) or data.label_record is None:
            return
        self.rule.begin(data.unlabeled_index)
        if self.alignment is not None and self.hparams["align"] == "labels":
            counts = torch.tensor(data.class_counts, dtype=torch.float32)
            self.alignment.target.copy_(counts / counts.sum())

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F)."""
        return self.encoder(image)

    def logits(self, image: Tensor) -> Tensor:
        """Scores of the classes before softmax: (B, C, H, W) -> (B, K)."""
        return self.head(self.encoder(image))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Cross entropy of B labelled images plus lambda times that of M unlabelled ones."""
        image, label, weak, strong = two_streams(batch)
        unlabeled = batch["unlabeled"]
        sizes = [len(image), len(weak), len(strong)]
        logits = self.logits(torch.cat([image, weak, strong])).float()  # one pass: BN sees all
        logits_x, logits_w, logits_s = logits.split(sizes)  # (B, K), 2 x (M, K)

        q = logits_w.detach().softmax(1)  # (M, K), of the live network, without gradient
        aligned = self.align(q)  # (M, K)
        target = self.rule.target(q, aligned)  # (M,) classes or (M, K) probabilities
        weight = self.rule(aligned)  # (M,) in [0, 1]

        loss_x = F.cross_entropy(logits_x, label)
        loss_u = losses.pseudo_label_nll(self.rule.learner(logits_w, logits_s), target, weight)
        loss = loss_x + self.ramp() * self.hparams["unlabeled_weight"] * loss_u
        figures = {"loss_labeled": loss_x, "loss_unlabeled": loss_u, "mask_rate": weight.mean()}
        if isinstance(self.rule, FreeThreshold) and self.hparams["fairness"]:
            figures["loss_fairness"] = self._fairness(self.rule, logits_s, weight)
            loss = loss + self.hparams["fairness"] * figures["loss_fairness"]

        pseudo = q.argmax(1)  # (M,)
        figures["agreement"] = (logits_s.argmax(1) == pseudo).float().mean()
        self.pseudo_labels.update(pseudo, unlabeled["label"], weight)  # true labels: measured only
        self._seen.append((q, unlabeled["index"]))
        return {"loss": loss} | figures

    def align(self, q: Tensor) -> Tensor:
        """Predictions after distribution alignment, if any: (M, K) -> (M, K)."""
        return q if self.alignment is None else self.alignment(q)

    def ramp(self) -> float:
        """Share of the unlabelled weight at this optimiser step."""
        steps = self.hparams["warmup_steps"]
        return min(1.0, self.global_step / steps) if steps else 1.0

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Then the running statistics: once per optimiser step."""
        super().optimizer_step(*args, **kwargs)
        self.after_step()

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the running statistics by the predictions of all batches of the step."""
        q, index = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        self.rule.update(self.align(q), index)
        if self.alignment is not None:
            self.alignment.update(q)

    def on_step_skipped(self) -> None:
        """Forget the predictions of a step that was given up."""
        self._seen.clear()

    def on_train_epoch_end(self) -> None:
        """Accuracy of the pseudo-labels and how they spread, since the epoch's beginning."""
        if not self.pseudo_labels.update_called:
            return  # continued at the epoch's end by another number of processes
        figures = self.pseudo_labels.compute()
        self.pseudo_labels.reset()
        share = figures.pop("share")
        if len(share) <= NAMED:
            figures |= {f"pseudo_share_{k}": part for k, part in enumerate(share)}
        self.log_dict({f"train/{k}": v for k, v in figures.items()}, sync_dist=True)
        self._alarm(share, float(figures["pseudo_entropy"]))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Cross entropy in nats and `classification_metrics`."""
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

    def _fairness(self, rule: FreeThreshold, logits: Tensor, weight: Tensor) -> Tensor:
        """FreeMatch's second loss, over the strong views of all processes."""
        every = distributed.gather(logits.softmax(1))  # (M world, K)
        used = distributed.gather(weight)  # (M world,)
        return losses.class_fairness(every, used, rule.expected, rule.counted)

    def _alarm(self, share: Tensor, entropy: float) -> None:
        """Say once when pseudo-labels gather in few classes."""
        if self._warned or not share.sum() > 0 or entropy >= COLLAPSED:
            return
        self._warned = True
        if self.global_rank == 0:
            most = int(share.argmax())
            print(
                f"pseudo-labels collapse: {float(share[most]):.0%} of those in use are class {most}"
                f" (entropy {entropy:.2f} of 1): a higher threshold, model.align=uniform or more "
                "labels may help",
                file=sys.stderr,
            )

    def _measure(self, split: str, batch: Batch) -> None:
        self.class_report.update(split, self.logits(batch["image"]), batch["label"])


def _check(given: dict[str, Any]) -> None:
    """Validate arguments; the encoder validates its own.

    Raises:
        ValueError: an argument is out of range; the message gives the range.
    """
    if (given["optimizer"] or {}).get("sam"):
        raise ValueError("optimizer.sam sees every batch twice, this method's statistics must not")
    if given["num_classes"] < 2:
        raise ValueError(f"num_classes must be at least 2, got {given['num_classes']}")
    if given["rule"] not in RULES:
        raise ValueError(f"unknown rule {given['rule']!r}; {nearest(given['rule'], RULES)}")
    if given["align"] not in ALIGNED:
        raise ValueError(f"unknown align {given['align']!r}; choose from {', '.join(ALIGNED)}")
    if not 0 < given["threshold"] <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {given['threshold']}")
    if not given["temperature"] > 0 or not 0 <= given["decay"] < 1:
        raise ValueError(
            f"temperature {given['temperature']} must be above 0, decay {given['decay']} in [0, 1)"
        )
    for name in ("unlabeled_weight", "warmup_steps", "fairness"):
        if given[name] < 0:
            raise ValueError(f"{name} must be at least 0, got {given[name]}")
    if given["fairness"] and given["rule"] != "freematch":
        raise ValueError(f"fairness is FreeMatch's: rule is {given['rule']}, not freematch")
