"""Feature extractors that evaluate images: a run, a pretrained encoder, Inception, DINOv2."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab import checkpoints, networks, recipes
from genlab.checkpoints.foreign.fetching import fetch
from genlab.checkpoints.safe_read import content
from genlab.contracts import Classifies
from genlab.errors import CheckpointError, RunError
from genlab.evaluation.published import NETWORKS, weights_of
from genlab.metrics.geometry import check_finite

WAYS = (
    "a judge is a run, inception, dinov2, a pretrained encoder's name, or a recipe with "
    "model.head: file"
)
PIXELS = 2**22  # of a batch, after resizing


class Seen(NamedTuple):
    """Outputs of a feature extractor for a set of images, on the CPU."""

    features: Tensor  # (N, F)
    logits: Tensor | None  # (N, K), where it classifies
    label: Tensor  # (N,), -1 where there is none
    position: Tensor  # (N,) in the data set, or the number of the sample


Net = Callable[[Tensor], tuple[Tensor, Tensor | None]]


@dataclass
class Judge:
    """A feature extractor for images, real ones and samples alike.

    Attributes:
        name: suffix of metric names: ``lenet`` in ``fid_lenet``.
        source: description of its origin.
        dim: F, the width of its features.
        classes: number K of its classes; 0 if it does not classify.
        channels: number of channels of its images.
        size: side of its images; others are resized, bilinear and antialiased. None for a network
            that resizes by itself.
        net: the network, bytes (B, C, H, W) -> features (B, F) and logits (B, K) or None.
        resizing: description of the network's own resizing.
        identity: facts of its weights, see `checkpoints.identify`.
        names: names of its classes; empty if they have none.
        data: its recipe's ``data``, for a run of genlab; None where it is unknown or fixed.
    """

    name: str
    source: str
    dim: int
    classes: int
    channels: int
    size: int | None
    net: Net
    resizing: str = ""
    identity: dict[str, Any] = field(default_factory=dict)
    names: Sequence[str] = ()
    data: dict[str, Any] | None = None

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Bytes (B, C, H, W) -> features (B, F) and logits (B, K), where there are, on the CPU.

        Raises:
            ValueError: images with more channels than it takes.
        """
        side = self.size or 299
        parts = [self.net(self._fit(part)) for part in image.split(max(1, PIXELS // side**2))]
        logits = [part.float().cpu() for _, part in parts if part is not None]
        features = torch.cat([part.flatten(1).float().cpu() for part, _ in parts])
        return features, torch.cat(logits) if logits else None

    def unrounded(self, image: Tensor) -> Tensor:
        """Features of images in [0, 1] that are not rounded to bytes: (B, C, H, W) -> (B, F).

        Raises:
            ValueError: a network that resizes by itself, which takes bytes.
        """
        if self.size is None:
            raise ValueError(f"{self.source} takes bytes only")
        features, _ = self.net(self._resized(image.float() * 255))
        return features

    def refuse_other_data(self, data: dict[str, Any]) -> None:
        """Refuse samples of other data than those that it was trained on.

        Args:
            data: the ``data`` of the samples' recipe.

        Raises:
            ValueError: they are others.
        """
        if self.data is not None and not recipes.same_images(self.data, data):
            ours, theirs = (recipes.described(one) for one in (self.data, data))
            raise ValueError(
                f"{self.source} was trained on {ours}, the samples are of {theirs}\n"
                "its distances mean little there; --judge-of-other-data measures them all the same"
            )

    def by_name(self, names: Sequence[str]) -> Judge:
        """The feature extractor with its classes in the order of ``names``.

        Without classes where its own have other names; as it is where there are no names.
        """
        own, wanted = list(self.names), list(names)
        if not own or not wanted or own == wanted:
            return self
        if sorted(own) != sorted(wanted):
            return replace(self, classes=0)
        order, net = [own.index(name) for name in wanted], self.net

        def ordered(image: Tensor) -> tuple[Tensor, Tensor | None]:
            features, logits = net(image)
            return features, None if logits is None else logits[:, order]

        return replace(self, net=ordered, names=names)

    def look(self, batches: Iterable[tuple[Tensor, Tensor, Tensor]]) -> Seen:
        """Outputs for batches of bytes (B, C, H, W), labels (B,) and positions (B,).

        Raises:
            ValueError: features that are not finite.
        """
        rows = [(*self(image), label.cpu(), position.cpu()) for image, label, position in batches]
        features, logits, label, position = zip(*rows, strict=True)
        scores = [part for part in logits if part is not None]
        every = torch.cat(features)
        check_finite(every, f"judge {self.source}: features")
        return Seen(
            every,
            torch.cat(scores) if scores else None,
            torch.cat(label),
            torch.cat(position),
        )

    def preprocessing(self, channels: int, size: int) -> str:
        """Describe the preprocessing of images with these channels and pixels."""
        words = [f"{size} px as they are"]
        if self.resizing:
            words = [f"{size} px to {self.resizing}"]
        elif self.size not in (None, size):
            words = [f"{size} px to {self.size} px, bilinear, antialiased"]
        if channels < self.channels:
            words.append(f"grey as {self.channels} equal colours")
        return ", ".join(["clipped and rounded to bytes", *words])

    def _fit(self, image: Tensor) -> Tensor:
        colours = image.shape[1]
        if colours not in (1, self.channels):
            raise ValueError(
                f"{self.source} takes {self.channels} channels, the images have {colours}"
            )
        resized = self._resized(image)
        return resized if resized.dtype == torch.uint8 else resized.round().clamp(0, 255).byte()

    def _resized(self, image: Tensor) -> Tensor:
        """As many channels and pixels as the network takes; as it is where it has them."""
        image = image.expand(-1, self.channels, -1, -1)
        if self.size in (None, image.shape[-1]):
            return image
        size = (self.size, self.size)
        return F.interpolate(image.float(), size, mode="bilinear", antialias=True)


def open_judge(word: str, device: torch.device | str = "cpu") -> Judge:
    """The feature extractor that a name means.

    Args:
        word: ``inception`` or ``dinov2``; a timm name, for its pretrained weights, or
            ``NAME:FILE`` for a file's; else a run, a checkpoint, or a recipe's name for its newest
            run.
        device: device of the network.

    Raises:
        ValueError: an unknown name, or unavailable weights; the message says what would work.
    """
    name, _, file = word.partition(":")
    device = torch.device(device)
    if word in NETWORKS:
        return _published(word, device)
    if timm.is_model(name.partition(".")[0]):
        return _encoder(name, file, device)
    try:
        weights = checkpoints.chosen(word)
    except RunError as error:
        raise ValueError(f"{error}\n{WAYS}") from None
    method: Any = checkpoints.load(weights)
    try:
        checkpoints.check_finite(method, weights)
    except CheckpointError as error:
        raise ValueError(f"judge {word}: {error}\n{WAYS}") from None
    stamp = checkpoints.read(weights).get("genlab")
    stamp = stamp if isinstance(stamp, dict) else {}
    recipe, names = stamp.get("recipe"), stamp.get("classes")
    data = recipe.get("data") if isinstance(recipe, dict) else None
    found = of_method(method.to(device), word)
    found.identity = checkpoints.identify(weights, stamp)
    found.names = [str(name) for name in names] if isinstance(names, list) else ()
    found.data = data if isinstance(data, dict) else None
    return found


def of_method(method: Any, source: str) -> Judge:
    """Feature extractor from a trained method: its ``forward``, and its ``logits``, if any."""
    given, kind = method.hparams, type(method).__name__
    encoder = str(given.get("encoder") or "")
    words = [encoder] if kind == "Classifier" else [kind.lower(), encoder]
    channels, size = given.get("channels"), given.get("image_size")
    if channels is None or size is None:
        raise ValueError(f"{source} is a {kind}, which does not define its images")
    classifies = isinstance(method, Classifies)

    def net(image: Tensor) -> tuple[Tensor, Tensor | None]:
        unit = image.to(method.device).float() / 255
        return method(unit), method.logits(unit) if classifies else None

    with torch.no_grad():
        blank = torch.zeros(2, channels, size, size, dtype=torch.uint8, device=method.device)
        features, logits = net(blank)
    return Judge(
        name=_key("_".join(filter(None, words))),
        source=f"{kind} {source}",
        dim=features[0].numel(),
        classes=0 if logits is None else logits.shape[1],
        channels=channels,
        size=size,
        net=net,
    )


def _encoder(name: str, file: str, device: torch.device) -> Judge:
    """A pretrained network of timm at the size it was trained at."""
    config = timm.get_pretrained_cfg(name)
    size = int(config.input_size[-1]) if config else 224
    try:
        said = {"architecture": name} if file else {}  # NAME:FILE says it
        network = networks.encoder(name, 3, size, pretrained=file or True, pretrained_options=said)
    except CheckpointError as error:
        why = str(error).splitlines()[0].partition(";")[0]
        raise ValueError(
            f"no weights for {name}: {why}\n"
            f"a file at hand: --judge {name}:FILE; else a run: --judge classifier/mnist_lenet"
        ) from None
    network = network.to(device).eval().requires_grad_(False)

    def net(image: Tensor) -> tuple[Tensor, None]:
        return network(image.to(device).float() / 255), None

    shown = recipes.without_credentials(file)
    tag = "" if file or "." in name or not config or not config.tag else f"_{config.tag}"
    return Judge(
        name=_key(name + tag),
        source=f"{name} with the weights of {shown}" if file else f"pretrained {name}",
        dim=network.out_dim,
        classes=0,
        channels=3,
        size=size,
        net=net,
        identity=checkpoints.identify(fetch(file).file) if file else {"file": f"timm's {name}"},
    )


def _published(name: str, device: torch.device) -> Judge:
    """A network that resizes by itself, as published distances have it."""
    known, file = NETWORKS[name], weights_of(name)
    network: nn.Module = known.network(content(file)).to(device)

    def net(image: Tensor) -> tuple[Tensor, Tensor | None]:
        features, logits = network(image.to(device))
        return features, logits

    facts = checkpoints.identify(file)
    source = f"{known.title} of {file.name}"
    return Judge(name, source, known.dim, known.classes, 3, None, net, known.resizing, facts)


def _key(words: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in words)
