"""Colorization: the encoder sees lightness alone, a decoder tells the colour of every pixel.

Zhang, Isola, Efros 2016, arXiv:1603.08511; reference code richzhang/colorization (4aa459f).
Departures: 261 bins instead of 313, see `colour_bins`; their frequencies are those of the training
images so far, not of ImageNet; the loss that is logged is the weighted one that is minimised, the
reference's reports the plain one (here ``task_nll``); a decoder by sub-pixel convolutions on any
encoder's last map.

What is frequent is dull: without weights the answer is grey. Images without colour say nothing and
count nothing. Colour jitter would change what is asked for; lightness may change.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import distributed, losses, networks, optim
from genlab.augment.lab import lab_to_rgb, rgb_to_lab
from genlab.augment.pretext.colour_bins import annealed_mean, bin_centres, rebalancing, soft_code
from genlab.contracts import Batch
from genlab.metrics import ImageError, log_steps
from genlab.networks.pending import Pending
from genlab.networks.sub_pixel import SubPixelDecoder, map_shape

TARGETS = ("bins", "regression")
GREY = 5.0  # images with no |a| or |b| above it are left out
RANGE = 110.0  # of a and b


class Colorization(L.LightningModule):
    """Colour of each pixel from the lightness, as a distribution over bins or as numbers.

    The encoder gives its network one channel, L / 100, which it computes from coloured images; so
    it does in what takes it over (``encoder_kwargs.lightness``).

    Args:
        channels: C of the images: 3.
        image_size: H = W in pixels.
        encoder: name of the encoder; see `networks.encoder`.
        target: ``bins`` (cross entropy), or ``regression`` (squared error of a and b).
        neighbours: bins that share a pixel in its soft code; the paper has 5, its code 10.
        rebalance: share of the uniform distribution in the weights of the bins, the paper's lambda;
            1 weighs all alike.
        stride: pixels of the image along a side of a predicted one.
        decoder_width: channels of the decoder.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss, val/loss (nats, lower): cross entropy of the soft codes of (a, b) times the
            weight of the nearest bin, mean over pixels, images without colour counting 0; of
            ``regression`` the squared error in units of 110.
        train/task_nll, val/task_nll (nats, lower): the cross entropy without weights.
        train/task_accuracy, val/task_accuracy (fraction, higher): share of pixels whose likeliest
            bin is the nearest.
        train/task_chance, val/task_chance (fraction): share of pixels in the bin of grey: what an
            answer without colour reaches.

    Raises:
        ValueError: grey images, or an argument out of its range.
    """

    configure_callbacks = log_steps
    reads_views = False
    law_images = (3, 16)
    centres: Tensor
    counts: Tensor

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        target: str = "bins",
        neighbours: int = 5,
        rebalance: float = 0.5,
        stride: int = 1,
        decoder_width: int = 64,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        _check(dict(self.hparams))
        kwargs = {**(encoder_kwargs or {}), "lightness": True}
        self.hparams["encoder_kwargs"] = kwargs  # for those who take it over
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **kwargs
        )
        centres = torch.tensor(bin_centres())  # (Q, 2)
        self.register_buffer("centres", centres)  # the meaning of a label
        self.register_buffer("counts", torch.zeros(len(centres), dtype=torch.int64))
        width, side = map_shape(self.encoder, channels, image_size)
        out = len(centres) if target == "bins" else 2
        self.decoder = SubPixelDecoder(width, out, side, image_size // stride, decoder_width)
        self.image_error = ImageError()
        self.pending = Pending()  # counts

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, of the lightness: (B, 3, H, W) -> (B, F)."""
        return self.encoder(image)

    def predict_ab(self, image: Tensor) -> Tensor:
        """Scores of the bins (B, Q, h, w), or a and b (B, 2, h, w) in units of 110."""
        return self.decoder(self.encoder.features(image))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Loss of every pixel's colour, a rare one weighing more."""
        image = batch["image"]
        return self._loss(self.predict_ab(image), rgb_to_lab(image)[:, 1:], batch_idx)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As training; the error of the coloured image; ``feature`` (B, F) for callbacks."""
        image = batch["image"]
        lab = rgb_to_lab(image)
        predicted = self.predict_ab(image)
        grey = lab_to_rgb(lab * lab.new_tensor([1.0, 0.0, 0.0])[:, None, None])
        self.image_error.update(self._coloured(lab, predicted), image, grey)
        return self._loss(predicted, lab[:, 1:]) | {"feature": self(image)}

    def on_validation_epoch_end(self) -> None:
        """Decibels of the split, and of the grey image."""
        found = self.image_error.compute()
        self.image_error.reset()
        self.log_dict({f"val/{key}": value for key, value in found.items()}, sync_dist=False)

    @torch.no_grad()
    def task_pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Lightness, the image, and the image in the colour that was told."""
        lab = rgb_to_lab(batch["image"])
        told = self._coloured(lab, self.predict_ab(batch["image"]))
        return {"input": lab[:, :1] / 100, "target": batch["image"], "output": told}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The frequencies of the bins move once per optimiser step."""
        super().optimizer_step(*args, **kwargs)
        self.after_step()

    def after_step(self) -> None:
        """Add the pixels of this step's batches, of all processes."""
        for counts in self.pending.take():
            self.counts += distributed.all_reduce_sum(counts.sum(0))

    def on_step_skipped(self) -> None:
        """Forget the pixels of a step that was given up."""
        self.pending.drop()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _loss(
        self, predicted: Tensor, ab: Tensor, batch_idx: int | None = None
    ) -> dict[str, Tensor]:
        """(B, Q or 2, h, w), (B, 2, H, W) -> scalars."""
        coloured = (ab.abs() > GREY).flatten(1).any(1)[:, None]  # (B, 1)
        ab = F.adaptive_avg_pool2d(ab, predicted.shape[-1])
        if self.hparams["target"] == "regression":
            error = (predicted.to(ab.dtype) - ab / RANGE).square().flatten(1)
            return {"loss": (error * coloured).mean()}
        logits = predicted.movedim(1, -1).flatten(0, 2)  # (B h w, Q)
        bins, share = soft_code(ab.movedim(1, -1).flatten(0, 2), self.centres, self._k)
        nearest = bins[:, 0]
        weight = rebalancing(self.counts, self.hparams["rebalance"])[nearest]
        nll = losses.soft_code_nll(logits, bins, share)
        if batch_idx is not None:
            ones = torch.ones_like(nearest)
            counts = torch.zeros_like(self.counts).scatter_add_(0, nearest, ones)
            self.pending.put(batch_idx, counts[None])
        loss = (nll * weight).view(len(ab), -1) * coloured
        right = logits.detach().argmax(1) == nearest
        dull = (self.centres[nearest] == 0).all(1)
        return {
            "loss": loss.mean(),
            "task_nll": nll.mean(),
            "task_accuracy": right.float().mean(),
            "task_chance": dull.float().mean(),
        }

    @property
    def _k(self) -> int:
        return int(self.hparams["neighbours"])

    def _coloured(self, lab: Tensor, predicted: Tensor) -> Tensor:
        """The lightness in predicted colour, (B, 3, H, W) in [0, 1]."""
        if self.hparams["target"] == "bins":
            ab = annealed_mean(predicted, self.centres)
        else:
            ab = predicted.float() * RANGE
        ab = F.interpolate(ab, lab.shape[-2:], mode="bilinear", align_corners=False)
        return lab_to_rgb(torch.cat([lab[:, :1], ab.to(lab.dtype)], 1))


def _check(given: dict[str, Any]) -> None:
    if given["channels"] != 3:
        raise ValueError(
            f"Colorization requires images of 3 channels, not {given['channels']}: "
            "grey images have no colour to tell"
        )
    if given["target"] not in TARGETS:
        raise ValueError(f"unknown target {given['target']!r}; choose from {', '.join(TARGETS)}")
    if not 0 <= given["rebalance"] <= 1:
        raise ValueError(f"rebalance {given['rebalance']} must be in 0 ... 1")
    if given["neighbours"] < 1:
        raise ValueError(f"neighbours {given['neighbours']} must be at least 1")
    if not 1 <= given["stride"] <= given["image_size"]:
        raise ValueError(f"stride {given['stride']} must be in 1 ... {given['image_size']}")
