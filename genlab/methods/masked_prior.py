"""A masked prior over a tokenizer's codes: all of them are predicted at once, in a few steps.

Chang, Zhang, Jiang, Liu, Freeman 2022, arXiv:2202.04200 (MaskGIT). Reference code:
google-research/maskgit. Departures: the loss is summed over masked places, mean over images
(reference: mean over the masked places of a batch), so that it is a mean of what images say; a
fraction of the labels may be hidden in training, as in `VQPrior`; networks are small, without a
layer before the logits and without their tie to the embedding.

The loss gives no likelihood: there is no ``log_prob`` and there are no bits per code.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.augment.draws import Params, Shape, for_images, uniform
from genlab.contracts import Batch
from genlab.methods._code_prior import CodePrior, conditional_classes
from genlab.networks.arguments import check_not_negative
from genlab.networks.autoencoders.masked_transformer import MaskedTransformer, masked_counts

STREAM = 122  # of validation's draws


class MaskedPrior(CodePrior):
    """Transformer that fills in masked codes of a trained, frozen tokenizer.

    The tokenizer's weights and its description travel in the prior's own checkpoint: loading that
    needs no other file.

    Args:
        tokenizer: checkpoint or run of a VQ-VAE or VQGAN; read once, when a new prior is made.
        tokenizer_spec: instead, its description (class and arguments); its weights then come with
            the prior's checkpoint. Filled in when the hyper-parameters are saved.
        width: channels of the transformer.
        depth: its layers.
        heads: its attention heads.
        dropout: rate in the network.
        label_smoothing: share of the target that is spread over all codes.
        steps: T, passes of the network for each sample; from 1 to the number of places.
        choice_noise: factor of the Gumbel noise on the confidence that decides which codes stay; it
            falls to 0 with the steps. Without it images turn into one colour.
        class_conditional: model codes given the label.
        num_classes: number of labels.
        label_dropout: fraction of labels hidden in training, when class-conditional.
        cache_codes: True to keep each training image's codes, so that it is encoded once.
        optimizer: settings of the optimiser; see `optim.build`.

    Logs:
        train/loss, val/loss, test/loss (nats, lower): cross entropy of masked codes, summed over an
            image's, of which a share cos(pi u / 2) is masked, u uniform; in training with
            label_smoothing.
        train/masked_accuracy, val/masked_accuracy, test/masked_accuracy (fraction, higher): share
            of masked codes whose most probable code is right, mean over images.

    Attributes:
        nfe: evaluations of the network for each image of the latest sample.

    Raises:
        ValueError: no tokenizer, or something else than one; an argument out of its range.
    """

    nfe: int = 0
    law_exceptions: ClassVar = {
        "checkpoint": "the cache of codes is no state: entries are encoded anew where they lack",
        "reads": "the cache of codes asks whether an image has changed; off: cache_codes: false",
    }

    def __init__(
        self,
        tokenizer: str | None = None,
        tokenizer_spec: dict[str, Any] | None = None,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        dropout: float = 0.1,
        label_smoothing: float = 0.1,
        steps: int = 8,
        choice_noise: float = 4.5,
        class_conditional: bool = False,
        num_classes: int = 10,
        label_dropout: float = 0.1,
        cache_codes: bool = True,
        optimizer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing {label_smoothing} must lie in [0, 1)")
        check_not_negative(choice_noise=choice_noise)
        classes = conditional_classes(class_conditional, num_classes)
        self.take(tokenizer, tokenizer_spec, classes, label_dropout, cache_codes)
        self.shape = self.tokenizer.code_shape
        masked_counts(math.prod(self.shape), steps)  # refuses other numbers of steps
        grid = (self.tokenizer.num_codes, self.shape)
        self.prior = MaskedTransformer(*grid, width, depth, self.num_classes, heads, dropout)

    @torch.no_grad()
    def fill(
        self, codes: Tensor, known: Tensor, label: Tensor | None = None, temperature: float = 1.0
    ) -> Tensor:
        """Draw the codes that are not known: (B, h, w) int64 and bool -> (B, h, w).

        Each step draws all unknown codes at once and keeps the most confident. The confidence is
        the log-probability of the drawn code at ``temperature``, plus noise; known codes stay.

        Args:
            codes: (B, h, w); what is not known has no effect.
            known: (B, h, w), as many places of each image.
            label: classes (B,), -1 for none.
            temperature: divides the logits; below 1 for likelier codes.

        Raises:
            ValueError: images have different numbers of unknown places.
        """
        unknown = (~known).flatten(1).sum(1)  # (B,)
        fewest, places = (int(number) for number in unknown.aminmax())
        if fewest < places:
            raise ValueError(
                f"known leaves {fewest} to {places} places of an image; fill requires one number"
            )
        steps = min(self.hparams["steps"], places)
        counts = [*masked_counts(places, steps), 0] if places else []
        self.nfe = len(counts)
        for step, left in enumerate(counts, 1):
            logits = self.prior(codes, known, label).float() / temperature  # (B, K, h, w)
            log_p = logits.log_softmax(1).movedim(1, -1)  # (B, h, w, K)
            drawn = torch.multinomial(log_p.exp().flatten(0, 2), 1).view(codes.shape)
            drawn = codes.where(known, drawn)
            if not left:  # the last step's codes are taken whole
                return drawn
            noise = -torch.empty(codes.shape, device=codes.device).exponential_().log()
            confidence = log_p.gather(-1, drawn[..., None])[..., 0]
            confidence = confidence + self.hparams["choice_noise"] * (1 - step / steps) * noise
            confidence = confidence.masked_fill(known, math.inf).flatten(1)  # (B, hw)
            unsure = confidence.topk(left, largest=False).indices
            known = torch.ones_like(confidence, dtype=torch.bool).scatter(1, unsure, False)
            codes, known = drawn, known.view(codes.shape)
        return codes

    def draw(self, n: int, condition: Tensor | None, temperature: float) -> Tensor:
        """Grids of codes, all of them unknown at first: labels (n,) or None -> (n, h, w)."""
        blank = torch.zeros((n, *self.shape), dtype=torch.int64, device=self.device)
        return self.fill(blank, blank > 0, condition, temperature)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Cross entropy of the masked codes of an image, mean over the batch."""
        codes, label = self.codes(batch), self.partly_hidden(batch["label"])  # (B, h, w), (B,)
        share = (torch.rand(len(codes), device=codes.device) * math.pi / 2).cos()  # (B,)
        masked = masks(share, torch.rand(codes.shape, device=codes.device))
        return self._figures(codes, masked, label, self.hparams["label_smoothing"])

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The same, each image with its own fixed mask."""
        codes = self.tokenizer.encode(batch["image"])
        masked = for_images(self._masks, batch, training=False, stream=STREAM)["masked"]
        return self._figures(codes, masked, batch["label"], 0.0)

    test_step = validation_step

    def _masks(self, shape: Shape, generator: torch.Generator) -> Params:
        """Masks of N images, (N, h, w), of shares cos(pi u / 2)."""
        share = uniform(shape[0], 0.0, math.pi / 2, generator).cos()  # (N,)
        return {"masked": masks(share, uniform((shape[0], *self.shape), 0.0, 1.0, generator))}

    def _figures(
        self, codes: Tensor, masked: Tensor, label: Tensor, smoothing: float
    ) -> dict[str, Tensor]:
        """Loss, and accuracy of the most probable codes."""
        logits = self.prior(codes, ~masked, self.condition(label)).float()  # (B, K, h, w)
        nll = F.cross_entropy(logits, codes, reduction="none", label_smoothing=smoothing)
        right = ((logits.argmax(1) == codes) & masked).flatten(1).sum(1)
        accuracy = right / masked.flatten(1).sum(1)
        return {"loss": (nll * masked).flatten(1).sum(1).mean(), "masked_accuracy": accuracy.mean()}


def masks(share: Tensor, drawn: Tensor) -> Tensor:
    """Masks of a share of each image's places, one at least: (B,), random (B, h, w) -> bool."""
    places = drawn[0].numel()
    count = (share * places).round().clamp(min=1)  # (B,)
    rank = drawn.flatten(1).argsort(1).argsort(1)  # (B, hw)
    return (rank < count[:, None]).view(drawn.shape)
