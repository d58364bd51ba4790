"""Inpainting: the encoder sees an image with a hole, a decoder tells what was in it.

Pathak, Krahenbuhl, Donahue, Darrell, Efros 2016, arXiv:1604.07379 (context encoders); reference
code pathak22/context-encoder (68abd11).
Departures: the hole is filled with the mean of what is visible in the image, not of the data set;
the decoder gives the whole image, of which the hole counts; the critic sees the image with its hole
closed; decoder and critic step together, by one optimiser (``optimizer.lr_scale`` gives each a rate
of its own), so that one counter and one state hold for both.

The mask is no channel of the input: downstream there is none.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.func import functional_call

from genlab import losses, networks, optim
from genlab.augment.boxes import inside
from genlab.augment.draws import Params, Shape, for_images
from genlab.augment.pretext.holes import filled, hole_boxes, hole_weights, shrunk
from genlab.contracts import Batch
from genlab.metrics import ImageError, log_steps
from genlab.networks.channelwise import ChannelwiseDense
from genlab.networks.sub_pixel import SubPixelDecoder, map_shape

STREAM = 50  # of the batch's seed
PLACES = ("centre", "random")


class Inpainting(L.LightningModule):
    """Squared error of the pixels of a square hole, and if wanted a critic's opinion of it.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of the encoder; see `networks.encoder`.
        hole: side of the hole as a share of the image's.
        place: ``centre`` or ``random``.
        overlap: width in pixels of the hole's ring that the encoder sees and must give back.
        overlap_weight: weight of the ring in the loss.
        adversarial_weight: share of the critic in the loss; the paper has 0.001. 0 for no critic.
        bottleneck: True for a dense layer over places, channel by channel, before the decoder.
        decoder_width: channels of the decoder.
        critic_width: channels of the critic's first map.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss, val/loss (squared intensity, lower): (1 - w) times the squared error of the
            hole's pixels, the ring's times overlap_weight, mean over its pixels; with a critic plus
            w times train/loss_generator plus train/loss_critic, in training alone.
        train/loss_generator (nats, lower): cross entropy of the critic's taking closed images for
            real ones.
        train/loss_critic (nats, lower): cross entropy of the critic on real and closed images.

    Raises:
        ValueError: an argument out of its range, a hole without inside, or an encoder without a
            feature map.
    """

    configure_callbacks = log_steps
    reads_views = False

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        hole: float = 0.5,
        place: str = "centre",
        overlap: int = 1,
        overlap_weight: float = 10.0,
        adversarial_weight: float = 0.0,
        bottleneck: bool = True,
        decoder_width: int = 64,
        critic_width: int = 32,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.side = round(hole * image_size)
        _check(dict(self.hparams), self.side)
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        width, side = map_shape(self.encoder, channels, image_size)
        dense = ChannelwiseDense(width, side) if bottleneck else nn.Identity()
        decoder = SubPixelDecoder(width, channels, side, image_size, decoder_width)
        self.decoder = nn.Sequential(dense, decoder)
        self.critic = (
            networks.critic("dcgan", channels, image_size, width=critic_width)
            if adversarial_weight
            else None
        )
        self.image_error = ImageError()

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, of the whole image: (B, C, H, W) -> (B, F)."""
        return self.encoder(image)

    def draw(self, shape: Shape, generator: torch.Generator) -> Params:
        """Holes of N images (N, C, H, W)."""
        centred = self.hparams["place"] == "centre"
        return {"box": hole_boxes(shape, self.side, centred, generator)}

    def ask(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Images with their holes filled (B, C, H, W), and the holes (B, 4)."""
        image = batch["image"]
        box = for_images(self.draw, batch, self.training, STREAM)["box"]
        hidden = inside(shrunk(box, self.hparams["overlap"]), *image.shape[2:])
        return filled(image, hidden), box

    def answer(self, shown: Tensor) -> Tensor:
        """The whole image as told, not cut to [0, 1]: (B, C, H, W) -> (B, C, H, W)."""
        return self.decoder(self.encoder.features(shown))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Error of the hole, and the critic's and the decoder's losses of the closed image."""
        shown, box = self.ask(batch)
        told, image = self.answer(shown), batch["image"]
        loss = self._error(told, image, box)
        if self.critic is None:
            return {"loss": loss}
        weight = self.hparams["adversarial_weight"]
        closed = self.closed(image, told, box)
        frozen = {name: value.detach() for name, value in self.critic.named_parameters()}
        generator = losses.generator_loss(
            "non_saturating", functional_call(self.critic, frozen, (closed,))
        )
        critic = losses.critic_loss(
            "non_saturating", self.critic(image), self.critic(closed.detach())
        )
        total = (1 - weight) * loss + weight * generator + critic
        return {"loss": total, "loss_generator": generator, "loss_critic": critic}

    def closed(self, image: Tensor, told: Tensor, box: Tensor) -> Tensor:
        """The image with its hole (B, 4) replaced by the answer: (B, C, H, W)."""
        return torch.where(inside(box, *image.shape[2:]), told.to(image.dtype), image)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Error of the hole and decibels; ``feature`` (B, F) of whole images for callbacks."""
        image = batch["image"]
        shown, box = self.ask(batch)
        told = self.answer(shown)
        hidden = inside(shrunk(box, self.hparams["overlap"]), *image.shape[2:])
        self.image_error.update(told.clamp(0, 1), image, shown, hidden)
        return {"loss": self._error(told, image, box), "feature": self(image)}

    def on_validation_epoch_end(self) -> None:
        """Decibels of what is hidden, and of the mean of what is visible."""
        found = self.image_error.compute()
        self.image_error.reset()
        self.log_dict({f"val/{key}": value for key, value in found.items()}, sync_dist=False)

    @torch.no_grad()
    def task_pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Images with holes, whole, and with their holes closed."""
        shown, box = self.ask(batch)
        image = batch["image"]
        closed = self.closed(image, self.answer(shown).clamp(0, 1), box)
        return {"input": shown, "target": image, "output": closed}

    @torch.no_grad()
    def task_boxes(self, batch: Batch) -> Tensor:
        """The holes of `task_pictures`, (B, 4)."""
        return self.ask(batch)[1]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _error(self, told: Tensor, image: Tensor, box: Tensor) -> Tensor:
        """Weighted squared error over the hole, mean over its pixels; nothing outside counts."""
        exact = torch.promote_types(image.dtype, torch.float32)
        ring, weight = self.hparams["overlap"], self.hparams["overlap_weight"]
        weights = hole_weights(box, ring, weight, *image.shape[2:]).to(exact)
        error = (told.to(exact) - image.to(exact)).square() * weights
        return error.sum() / (len(image) * image.shape[1] * self.side**2)


def _check(given: dict[str, Any], side: int) -> None:
    if given["place"] not in PLACES:
        raise ValueError(f"unknown place {given['place']!r}; choose from {', '.join(PLACES)}")
    if not 0 <= given["adversarial_weight"] < 1:
        raise ValueError(f"adversarial_weight {given['adversarial_weight']} must be in 0 ... 1")
    if min(given["overlap"], given["overlap_weight"]) < 0:
        raise ValueError("overlap and overlap_weight must be at least 0")
    if not 2 * given["overlap"] + 2 <= side <= given["image_size"] - 2:
        raise ValueError(
            f"a hole of {side} px of {given['image_size']} requires 2 px or more inside its ring "
            f"of {given['overlap']}, and 2 px around it"
        )
